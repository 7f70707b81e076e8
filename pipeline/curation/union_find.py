"""Groups that grow together: whoever is like one member belongs to all."""

from __future__ import annotations

import numpy as np


def alone(n: int) -> np.ndarray:
    """n rows, each its own leader."""
    return np.arange(n)


def join(leaders: np.ndarray, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Bring row `ones[k]` and row `others[k]` together for every k; each row's leader is the first of its group."""
    pairs = np.stack([leaders[ones], leaders[others]], axis=1)
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    if not len(pairs):
        return leaders
    boss = leaders.tolist()
    for one, other in pairs.tolist():
        first, second = sorted((_leader(boss, one), _leader(boss, other)))
        boss[second] = first
    joined = np.array(boss, dtype=leaders.dtype)
    while not np.array_equal(joined, joined[joined]):
        joined = joined[joined]
    return joined


def by_value(values: np.ndarray) -> np.ndarray:
    """Leaders of the groups of equal values."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return first[inverse]


def members(leaders: np.ndarray) -> list[np.ndarray]:
    """The rows of each group, in the order of the leaders."""
    order = np.argsort(leaders, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(leaders[order])) + 1) if len(leaders) else []


def _leader(boss: list[int], row: int) -> int:
    while boss[row] != row:
        boss[row] = boss[boss[row]]
        row = boss[row]
    return row
