"""Learning-rate schedules: pure functions of the step, so that a resumed training needs no scheduler's state."""

from __future__ import annotations

import math
from collections.abc import Callable

from pipeline.core.registry import lookup
from pipeline.core.training_params import Train

# Share of the steps after the warm-up that are finished -> share of `train.learning_rate`.
LR_SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
}


def lr_schedule(name: str) -> Callable[[float], float]:
    """The schedule of this name; ParamsError names the nearest known one."""
    return lookup("train.lr_schedule", name, LR_SCHEDULES)


def learning_rate_at(train: Train, step: int) -> float:
    """Learning rate of the step that follows `step` finished ones: a linear warm-up, then the schedule."""
    warmup = min(1.0, (step + 1) / max(1, train.warmup_steps))
    progress = max(0, step - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
    return train.learning_rate * warmup * lr_schedule(train.lr_schedule)(progress)
