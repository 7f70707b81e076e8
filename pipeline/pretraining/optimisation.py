"""A resumable optimisation: its state on disk, and the same continuation after a restart."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from pipeline.pretraining.settings import Phase

OnProgress = Callable[[str, int, int, Mapping[str, float]], None]  # phase, step, of steps, values


@dataclass
class Optimisation:
    """Modules under training with everything that has to be saved to continue exactly."""

    name: str
    modules: nn.ModuleDict
    phase: Phase
    step: int = 0
    losses: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parameters = [weight for weight in self.modules.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=self.phase.peak_rate,
            betas=(0.9, 0.99),
            weight_decay=self.phase.weight_decay,
            foreach=True,
        )

    @property
    def is_finished(self) -> bool:
        return self.step >= self.phase.steps


def optimise(
    work: Optimisation, losses_at: Callable[[int], dict[str, torch.Tensor]], state_file: Path, on_progress: OnProgress
) -> None:
    """Take the remaining steps; `losses_at(step)` returns the parts of the loss, of which "loss" is minimised."""
    restore_state(work, state_file)
    work.modules.train()
    while not work.is_finished:
        values = take_step(work, losses_at(work.step))
        on_progress(work.name, work.step, work.phase.steps, values)
        if work.is_finished or work.step % work.phase.save_every == 0:
            save_state(work, state_file)
    work.modules.eval()


def take_step(work: Optimisation, losses: dict[str, torch.Tensor]) -> dict[str, float]:
    """Backward, clip, update."""
    for group in work.optimiser.param_groups:
        group["lr"] = learning_rate_at(work.phase, work.step)
    work.optimiser.zero_grad(set_to_none=True)
    losses["loss"].backward()
    nn.utils.clip_grad_norm_(work.parameters, 1.0, foreach=True)
    work.optimiser.step()
    work.step += 1
    values = {name: float(value.detach()) for name, value in losses.items()}
    work.losses.append({"step": work.step, **values})
    return values


def learning_rate_at(phase: Phase, step: int) -> float:
    """Per cycle: linear warm-up, a plateau, and half a cosine down over the last `decay_share` of the steps."""
    cycle_steps = -(-phase.steps // phase.cycles)
    step = step % cycle_steps
    warm_up = min(1.0, (step + 1) / phase.warmup_steps)
    decay_steps = cycle_steps * phase.decay_share
    decayed = max(0.0, (step - (cycle_steps - decay_steps)) / decay_steps)
    return phase.peak_rate * warm_up * 0.5 * (1 + math.cos(math.pi * decayed))


def save_state(work: Optimisation, state_file: Path) -> None:
    """Atomic: a kill leaves either the former state or this one."""
    state_file.parent.mkdir(parents=True, exist_ok=True)
    partial = state_file.with_suffix(".partial")
    torch.save(
        {
            "step": work.step,
            "modules": work.modules.state_dict(),
            "optimiser": work.optimiser.state_dict(),
            "losses": work.losses,
        },
        partial,
    )
    os.replace(partial, state_file)


def restore_state(work: Optimisation, state_file: Path) -> None:
    """Load the saved state, if there is one."""
    if not state_file.is_file():
        return
    state = torch.load(state_file, map_location="cpu", weights_only=True)
    work.modules.load_state_dict(state["modules"])
    work.optimiser.load_state_dict(state["optimiser"])
    work.step, work.losses = state["step"], state["losses"]
