"""Random numbers by counter: each is a pure function of (seed, purpose, counters), never of what was drawn before.

So a training that was killed goes on with the numbers it would have had, and the number of processes changes nothing.
"""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """A fresh generator on the CPU; a GPU's numbers would depend on its model."""
    key = hashlib.sha256(f"{seed}/{purpose}/{'/'.join(map(str, counters))}".encode()).digest()
    # torch takes 64 bits with sign; 63 of them are enough.
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "big") >> 1)


def permutation(n: int, seed: int, purpose: str, *counters: int) -> list[int]:
    """The numbers 0..n-1, shuffled."""
    return torch.randperm(n, generator=generator(seed, purpose, *counters)).tolist()


def normal(shape: tuple[int, ...], seed: int, purpose: str, *counters: int) -> torch.Tensor:
    """Values of deviation one, float32."""
    return torch.randn(shape, generator=generator(seed, purpose, *counters))


def uniform(n: int, seed: int, purpose: str, *counters: int) -> list[float]:
    """n numbers in [0, 1)."""
    return torch.rand(n, generator=generator(seed, purpose, *counters), dtype=torch.float64).tolist()
