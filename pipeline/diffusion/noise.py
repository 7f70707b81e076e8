"""Counter-based random numbers: each is a pure function of (seed, purpose, counters), never of earlier draws.

So a training that was killed goes on with the numbers that it would have had, and the number of processes changes
nothing.
"""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """A fresh generator on the CPU; a GPU's numbers would depend on its model."""
    key = hashlib.sha256(f"{seed}/{purpose}/{'/'.join(map(str, counters))}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "big") >> 1)  # torch takes 63 bits and a sign


def uniform(n: int, source: torch.Generator) -> list[float]:
    """n numbers in [0, 1)."""
    return torch.rand(n, generator=source, dtype=torch.float64).tolist()
