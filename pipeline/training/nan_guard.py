"""Numbers that are none: which examples brought them, and whether they have reached the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

from pipeline.training.distributed.fsdp import local

FP16_SKIPS = 40  # steps, one after the other: they halve a scale of 2 ** 16 to nothing


def blame(step: int, loss: float, norm: float, seen: Sequence[str], guilty: Sequence[bool]) -> str:
    """The sentence that ends a training; `guilty` says whose own loss is no finite number, slot by slot.

    When all or none are, it is not the pictures: the weights have left all bounds.
    """
    what = f"loss of step {step} is {loss}" if not math.isfinite(loss) else f"gradient of step {step} is {norm}"
    if all(guilty) or not any(guilty):
        return f"the {what} (it saw {', '.join(dict.fromkeys(seen))}); lower train.learning_rate"
    names = dict.fromkeys(name for name, bad in zip(seen, guilty) if bad)
    return f"the {what}, because of {', '.join(names)}; take it out of the pictures, or lower train.learning_rate"


def skipping(norms: Sequence[float], scaler: torch.amp.GradScaler | None) -> bool:
    """May the step after these be left out? That is how fp16 looks for its scale; it must find one in the end."""
    return scaler is not None and (len(norms) < FP16_SKIPS or any(map(math.isfinite, norms[-FP16_SKIPS:])))


def sound(weights: Iterable[torch.Tensor]) -> torch.Tensor:
    """Are all numbers of what this process has of the weights finite? A bool on their device."""
    return torch.stack([local(weight.detach()).isfinite().all() for weight in weights]).all()
