"""Union-find (disjoint sets) over the rows of a table: groups that are joined pair by pair."""

from __future__ import annotations

import numpy as np


def alone(n: int) -> np.ndarray:
    """n rows, each its own leader."""
    return np.arange(n)


def join(leaders: np.ndarray, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Join the groups of row `ones[k]` and row `others[k]` for every k; the leader of a group is its first row."""
    pairs = np.stack([leaders[ones], leaders[others]], axis=1)
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    if not len(pairs):
        return leaders
    parents = leaders.tolist()
    for one, other in pairs.tolist():
        first, second = sorted((_root(parents, one), _root(parents, other)))
        parents[second] = first
    joined = np.array(parents, dtype=leaders.dtype)
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


def _root(parents: list[int], row: int) -> int:
    """The leader of a row's group; shortens the path to it (path halving)."""
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row
