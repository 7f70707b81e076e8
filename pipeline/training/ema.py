"""Exponential moving average (EMA) of the weights, which snapshots and monitoring use instead of the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn


class EMA:
    """w' <- w' + (1 - d) (w - w'), with d = min(decay, (1 + n) / (10 + n)) after n steps.

    A fixed decay would keep the first weights for thousands of steps.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], decay: float):
        self.decay, self._weights = decay, dict(weights)
        self.values = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, n_steps: int) -> None:
        decay = min(self.decay, (1 + n_steps) / (10 + n_steps))
        torch._foreach_lerp_(list(self.values.values()), list(self._weights.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While it is open, the model has the averaged weights, and `values` the trained ones."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        """One weight after the other, so that there is never a third copy of all of them."""
        for name, weight in self._weights.items():
            trained = weight.clone()
            weight.copy_(self.values[name])
            self.values[name].copy_(trained)
