"""Drift of a data set against the version before: the population stability index of a few quantities.

The index is the sum over bins of (p - q) ln(p / q), p and q the shares of pictures in a bin now and before; the bins
are quantiles of the version before, and one beyond each end. By custom 0.1 is little and 0.25 much. Two samples of one
population of n and m pictures and B bins reach (B - 1)(1/n + 1/m) on average (B. Yurdakul, Statistical properties of
population stability index, 2018), 0.16 for fifty pictures in five bins: so much is taken off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.expectations.expectation import Expectation, at_most
from pipeline.expectations.suite import Limits, Suite

QUANTITIES = {"shorter side": "side_px", "sharpness": "sharpness", "class margin": "clip_margin"}
MIN_PICTURES = 20  # with a value, on both sides
PICTURES_PER_BIN, MAX_BINS = 10, 10
MIN_COUNT = 0.5  # pictures that an empty bin is taken to have


def statistics(pictures: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Of each quantity: n, median, edges of the bins and how many pictures are in each (one bin more than edges)."""
    return {name: _histogram(_values(pictures, column)) for name, column in QUANTITIES.items()}


def expectations(limits: Limits) -> tuple[Expectation, ...]:
    """About the quantities that `compared` returns."""
    most = limits.validate.max_drift
    need = f"the population stability index of each quantity against the version before is at most {most:g}"
    drift = at_most("drift", "like the version before", need, "index", most, "index {:.2f}", "warn")
    return (replace(drift, when_empty="no earlier version to compare with"),)


def compared(pictures: pd.DataFrame, before: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per quantity that both versions have: quantity, before and now (medians), index.

    `pictures` are the facts about curated pictures, `before` the `statistics` of the version before.
    """
    rows = []
    for name, column in QUANTITIES.items():
        values, earlier = _values(pictures, column), before.get(name, {"n": 0})
        if min(len(values), earlier["n"]) >= MIN_PICTURES:
            index = stability_index(earlier["counts"], _counts(values, earlier["edges"]))
            rows.append((name, earlier["median"], _six_digits(np.median(values)), index))
    return pd.DataFrame(rows, columns=["quantity", "before", "now", "index"])


def stability_index(before: Sequence[int], now: Sequence[int]) -> float:
    """Of two histograms (counts) over the same bins, less what chance alone adds; never below 0."""
    old, new = np.array(before), np.array(now)
    q, p = (np.maximum(counts, MIN_COUNT) / counts.sum() for counts in (old, new))
    chance = (np.count_nonzero(old + new) - 1) * (1 / old.sum() + 1 / new.sum())
    return round(max(0.0, float(((p - q) * np.log(p / q)).sum() - chance)), 4)


def _values(pictures: pd.DataFrame, column: str) -> np.ndarray:
    values = pictures[column].to_numpy(dtype=float)
    return np.asarray(values[np.isfinite(values)])


def _histogram(values: np.ndarray) -> dict[str, Any]:
    if not len(values):
        return {"n": 0}
    edges = _edges(values)
    return {
        "n": len(values),
        "median": _six_digits(np.median(values)),
        "edges": edges,
        "counts": _counts(values, edges),
    }


def _edges(values: np.ndarray) -> list[float]:
    """Quantiles; a value that many pictures share (the side to which curation reduces) has a bin of its own."""
    bins = int(np.clip(len(values) // PICTURES_PER_BIN, 1, MAX_BINS))
    quantiles = [_six_digits(value) for value in np.quantile(values, np.linspace(0, 1, bins + 1))]
    shared = [value for value in quantiles if quantiles.count(value) > 1]
    return sorted({*quantiles[:-1], *(float(np.nextafter(value, np.inf)) for value in (*shared, quantiles[-1]))})


def _counts(values: np.ndarray, edges: list[float]) -> list[int]:
    """How many lie below the first edge, from each to the next, and from the last on."""
    counts: list[int] = np.bincount(np.digitize(values, edges), minlength=len(edges) + 1).tolist()
    return counts


def _six_digits(value: float) -> float:
    """What differs behind six digits is the machine, not the pictures."""
    return float(f"{value:.6g}")


QUANTITY_DRIFT = Suite(
    "curated", "quantities", "quantity", lambda data: compared(data.pictures, data.previous), expectations
)
