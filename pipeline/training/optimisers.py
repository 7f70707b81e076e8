"""The optimisers by name. Their whole state can be saved and put back: see state.py.

Each takes parameter groups as `Trainable.optimised` gives them and a learning rate; the loop sets the rate of every
group before each step.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch

from pipeline.core.errors import InputError, ParamsError
from pipeline.core.params import section
from pipeline.core.registry import lookup
from pipeline.core.training_params import Train
from pipeline.methods.method import Method

Groups = list[dict[str, Any]]
PRODIGY_RATES = (0.1, 10.0)  # what its authors' rate of 1 may be multiplied by


def adamw(groups: Groups, rate: float) -> torch.optim.Optimizer:
    """Loshchilov and Hutter 2019."""
    # fused: one pass over the memory instead of a dozen, which is most of what AdamW costs on a CPU.
    return torch.optim.AdamW(groups, lr=rate, fused=True)


def adamw8bit(groups: Groups, rate: float) -> torch.optim.Optimizer:
    """AdamW with moments of eight bits: a quarter of their memory (Dettmers et al. 2022)."""
    from bitsandbytes.optim import AdamW8bit

    for group in groups:
        for weight in group["params"]:  # it would do so at the first step, after shaping its moments by the old layout
            weight.data = weight.data.contiguous()
    return AdamW8bit(groups, lr=rate)


def adafactor(groups: Groups, rate: float) -> torch.optim.Optimizer:
    """Moments of rows and columns only; the rate is a share of each weight's size (Shazeer and Stern 2018)."""
    return torch.optim.Adafactor(groups, lr=rate)


def prodigy(groups: Groups, rate: float) -> torch.optim.Optimizer:
    """It finds the rate itself, and `rate` multiplies what it finds (Mishchenko and Defazio 2024)."""
    from prodigyopt import Prodigy

    # As its authors advise for diffusion models: the warm-up must not look like a slow learner.
    made = Prodigy(groups, lr=rate, use_bias_correction=True, safeguard_warmup=True)
    _go_own_ways(made)
    return made


def _go_own_ways(optimiser: torch.optim.Optimizer) -> None:
    """Prodigy takes one step for all groups, of which each is to go `lr_factor`."""
    starts: list[list[torch.Tensor]] = []

    def before(made: torch.optim.Optimizer, *_: Any) -> None:
        common = made.param_groups[0]["lr"] / made.param_groups[0]["lr_factor"]
        for group in made.param_groups:
            group["lr"] = common
            starts.append([weight.detach().clone() for weight in group["params"] if group["lr_factor"] != 1])

    @torch.no_grad()
    def after(made: torch.optim.Optimizer, *_: Any) -> None:
        for group, start in zip(made.param_groups, starts, strict=True):
            for weight, old in zip(group["params"], start):
                weight.copy_(torch.lerp(old, weight, group["lr_factor"]))
        starts.clear()

    optimiser.register_step_pre_hook(before)
    optimiser.register_step_post_hook(after)


OPTIMISERS: dict[str, Callable[[Groups, float], torch.optim.Optimizer]] = {
    "adamw": adamw,
    "adamw8bit": adamw8bit,
    "adafactor": adafactor,
    "prodigy": prodigy,
}


def optimiser(name: str) -> Callable[[Groups, float], torch.optim.Optimizer]:
    """The optimiser of this name; ParamsError names the nearest known one."""
    return lookup("train.optimiser", name, OPTIMISERS)


def check_optimiser(train: Train, method: Method) -> None:
    """ParamsError or InputError unless this optimiser is known, installed and given a rate that it can use."""
    optimiser(train.optimiser)
    if train.optimiser == "adamw8bit" and importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(
            "train.optimiser 'adamw8bit' needs bitsandbytes, which is not installed; "
            "run `pip install 'bitsandbytes>=0.50'`, or take adamw or adafactor"
        )
    if train.optimiser == "prodigy":
        _check_factors(train, method)


def _check_factors(train: Train, method: Method) -> None:
    sections = {name: section(train, name, kind) for name, kind in method.sections.items()}
    rates = {"train.learning_rate": train.learning_rate} | {
        f"train.{name}.learning_rate": own.learning_rate
        for name, own in sections.items()
        if hasattr(own, "learning_rate")
    }
    low, high = PRODIGY_RATES
    for name, rate in rates.items():
        if not low <= rate <= high:
            raise ParamsError(
                f"{name} is {rate:g}, but prodigy finds the rate itself and multiplies it by this; set it to 1.0"
            )
