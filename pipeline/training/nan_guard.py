"""NaN/Inf detection: which examples a non-finite loss comes from, and whether it has reached the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

from pipeline.training.distributed.fsdp import local_shard

MAX_FP16_SKIPS = 40  # steps, one after the other: they halve a loss scale of 2 ** 16 to nothing


def non_finite_message(step: int, loss: float, norm: float, examples: Sequence[str], is_bad: Sequence[bool]) -> str:
    """The sentence that ends a training; `is_bad` has for each slot whether its own loss is NaN or infinite.

    When all or none are, the cause is not a picture: the weights have diverged.
    """
    what = f"loss of step {step} is {loss}" if not math.isfinite(loss) else f"gradient of step {step} is {norm}"
    if all(is_bad) or not any(is_bad):
        return f"the {what} (its examples: {', '.join(dict.fromkeys(examples))}); lower train.learning_rate"
    names = dict.fromkeys(name for name, bad in zip(examples, is_bad) if bad)
    return f"the {what}, because of {', '.join(names)}; remove it from the pictures, or lower train.learning_rate"


def may_skip_step(norms: Sequence[float], scaler: torch.amp.GradScaler | None) -> bool:
    """May the step after these gradient norms be skipped? fp16 finds its loss scale so, but not for ever."""
    return scaler is not None and (len(norms) < MAX_FP16_SKIPS or any(map(math.isfinite, norms[-MAX_FP16_SKIPS:])))


def all_finite(weights: Iterable[torch.Tensor]) -> torch.Tensor:
    """A bool on the device of the weights; of sharded weights each process checks its own shard."""
    return torch.stack([local_shard(weight.detach()).isfinite().all() for weight in weights]).all()
