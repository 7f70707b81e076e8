"""Has a data set changed against the version before? By the population stability index of a few quantities.

The index is the sum over bins of (p - q) ln(p / q), p and q the shares of pictures in a bin now and before; the bins
are quantiles of the version before, and one beyond each end. By custom 0.1 is little and 0.25 much. Two samples of one
population of n and m pictures and B bins reach (B - 1)(1/n + 1/m) on average (B. Yurdakul, Statistical properties of
population stability index, 2018), 0.16 for fifty pictures in five bins: so much is taken off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

QUANTITIES = {"shorter side": "side_px", "sharpness": "sharpness", "class margin": "clip_margin"}
FEWEST = 20  # pictures with a value, on both sides
PER_BIN, MOST_BINS = 10, 10
SMALLEST = 0.5  # pictures that an empty bin is taken to have
NOTHING = "no earlier version to compare with"


def statistics(facts: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Of each quantity: n, median, edges of the bins and how many pictures are in each (one bin more than edges)."""
    return {name: _histogram(_values(facts, column)) for name, column in QUANTITIES.items()}


def compared(facts: pd.DataFrame, before: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per quantity that both versions have: quantity, before and now (medians), index."""
    rows = []
    for name, column in QUANTITIES.items():
        values, earlier = _values(facts, column), before.get(name, {"n": 0})
        if min(len(values), earlier["n"]) >= FEWEST:
            index = stability_index(earlier["counts"], _counts(values, earlier["edges"]))
            rows.append((name, earlier["median"], _short(np.median(values)), index))
    return pd.DataFrame(rows, columns=["quantity", "before", "now", "index"])


def stability_index(before: Sequence[int], now: Sequence[int]) -> float:
    """Of two histograms (counts) over the same bins, less what chance alone brings; never below 0."""
    before, now = np.array(before), np.array(now)
    q, p = (np.maximum(counts, SMALLEST) / counts.sum() for counts in (before, now))
    chance = (np.count_nonzero(before + now) - 1) * (1 / before.sum() + 1 / now.sum())
    return round(max(0.0, float(((p - q) * np.log(p / q)).sum()) - chance), 4)


def _values(facts: pd.DataFrame, column: str) -> np.ndarray:
    values = facts[column].to_numpy(dtype=float)
    return values[np.isfinite(values)]


def _histogram(values: np.ndarray) -> dict[str, Any]:
    if not len(values):
        return {"n": 0}
    edges = _edges(values)
    return {"n": len(values), "median": _short(np.median(values)), "edges": edges, "counts": _counts(values, edges)}


def _edges(values: np.ndarray) -> list[float]:
    """Quantiles; a value that many pictures share (the side to which curation reduces) has a bin of its own."""
    bins = int(np.clip(len(values) // PER_BIN, 1, MOST_BINS))
    quantiles = [_short(value) for value in np.quantile(values, np.linspace(0, 1, bins + 1))]
    shared = [value for value in quantiles if quantiles.count(value) > 1]
    return sorted({*quantiles[:-1], *(float(np.nextafter(value, np.inf)) for value in (*shared, quantiles[-1]))})


def _counts(values: np.ndarray, edges: list[float]) -> list[int]:
    """How many lie below the first edge, from each to the next, and from the last on."""
    return np.bincount(np.digitize(values, edges), minlength=len(edges) + 1).tolist()


def _short(value: float) -> float:
    """Six digits: what differs behind them is the machine, not the pictures."""
    return float(f"{value:.6g}")
