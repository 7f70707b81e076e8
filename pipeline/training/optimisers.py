"""Optimisers by name. Their whole state can be saved and restored: see `checkpoint.state`.

Each takes parameter groups as `Trainable.optimiser_groups` gives them and a learning rate; the loop sets the rate of
every group before each step.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import InputError, ParamsError
from pipeline.core.params import section
from pipeline.core.registry import lookup
from pipeline.core.training_params import Train
from pipeline.methods.method import Method

if TYPE_CHECKING:  # params are checked against the table without torch
    import torch

Groups = list[dict[str, Any]]


@dataclass(frozen=True)
class Optimiser:
    """One optimiser: how it is made, and what must be known of it before.

    `state_bytes` it keeps for each trained weight; `package` must be installed; learning rates must lie within
    `learning_rates`, where it has such a range.
    """

    make: Callable[[Groups, float], torch.optim.Optimizer]
    state_bytes: int
    package: str = ""
    requirement: str = ""  # of pip, for the package
    learning_rates: tuple[float, float] | None = None


def adamw(groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
    """Loshchilov and Hutter 2019."""
    import torch

    # fused: one pass over the memory instead of a dozen, which is most of what AdamW costs on a CPU.
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def adamw8bit(groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
    """AdamW with moments of eight bits: a quarter of their memory (Dettmers et al. 2022)."""
    from bitsandbytes.optim import AdamW8bit

    for group in groups:
        for weight in group["params"]:  # it would do so at the first step, after shaping its moments by the old layout
            weight.data = weight.data.contiguous()
    optimiser: torch.optim.Optimizer = AdamW8bit(groups, lr=learning_rate)
    return optimiser


def adafactor(groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
    """Moments of rows and columns only; the rate is a share of each weight's size (Shazeer and Stern 2018)."""
    import torch

    return torch.optim.Adafactor(groups, lr=learning_rate)


def prodigy(groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
    """It estimates the rate itself; `learning_rate` is a factor of the estimate (Mishchenko and Defazio 2024)."""
    from prodigyopt import Prodigy

    # As its authors advise for diffusion models: the warm-up must not look like slow progress.
    optimiser: torch.optim.Optimizer = Prodigy(
        groups, lr=learning_rate, use_bias_correction=True, safeguard_warmup=True
    )
    _scale_steps_by_group(optimiser)
    return optimiser


def _scale_steps_by_group(optimiser: torch.optim.Optimizer) -> None:
    """Prodigy takes one step for all groups; each group's is then scaled by its `lr_factor`."""
    import torch

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


OPTIMISERS: dict[str, Optimiser] = {
    "adamw": Optimiser(adamw, state_bytes=8),
    "adamw8bit": Optimiser(adamw8bit, state_bytes=2, package="bitsandbytes", requirement="bitsandbytes>=0.50"),
    "adafactor": Optimiser(adafactor, state_bytes=0),
    "prodigy": Optimiser(prodigy, state_bytes=16, learning_rates=(0.1, 10.0)),  # its authors' rate is 1
}


def optimiser(name: str) -> Optimiser:
    """The optimiser of this name; ParamsError names the nearest known one."""
    return lookup("train.optimiser", name, OPTIMISERS)


def check_optimiser(train: Train, method: Method) -> None:
    """ParamsError or InputError unless this optimiser is known, installed and given a rate that it can use."""
    chosen = optimiser(train.optimiser)
    if chosen.package and importlib.util.find_spec(chosen.package) is None:
        others = [name for name, other in OPTIMISERS.items() if not (other.package or other.learning_rates)]
        raise InputError(
            f"train.optimiser {train.optimiser!r} needs {chosen.package}, which is not installed; "
            f"run `pip install '{chosen.requirement}'`, or take {' or '.join(others)}"
        )
    if chosen.learning_rates:
        _check_learning_rates(train, method, *chosen.learning_rates)


def _check_learning_rates(train: Train, method: Method, lowest: float, highest: float) -> None:
    sections = {name: section(train, name, kind) for name, kind in method.sections.items()}
    rates = {"train.learning_rate": train.learning_rate} | {
        f"train.{name}.learning_rate": own.learning_rate
        for name, own in sections.items()
        if hasattr(own, "learning_rate")
    }
    for name, rate in rates.items():
        if not lowest <= rate <= highest:
            raise ParamsError(
                f"{name} is {rate:g}, but {train.optimiser} finds the rate itself and multiplies it by this; "
                "set it to 1.0"
            )
