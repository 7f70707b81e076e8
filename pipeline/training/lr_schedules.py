"""The learning rate as a function of the step, so that a resumed training needs no scheduler's state."""

from __future__ import annotations

import math
from collections.abc import Callable

from pipeline.core.training_params import Train

SCHEDULES: dict[str, Callable[[float], float]] = {  # share of the way after the warm-up -> share of the rate
    "constant": lambda way: 1.0,
    "linear": lambda way: 1.0 - way,
    "cosine": lambda way: 0.5 * (1 + math.cos(math.pi * way)),
}


def learning_rate_at(train: Train, step: int) -> float:
    """Learning rate of the step that follows `step` finished ones: a linear rise, then the schedule."""
    warm = min(1.0, (step + 1) / max(1, train.warmup_steps))
    way = max(0, step - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
    return train.learning_rate * warm * SCHEDULES[train.lr_schedule](way)
