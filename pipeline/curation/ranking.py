"""Which of several copies is the best one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def ranks(scores: pd.DataFrame) -> np.ndarray:
    """The rank of each row (n,), 0 for the best: kept by people, larger, sharper, clearer, smallest sha256."""
    area = scores["width_px"].to_numpy(dtype=float) * scores["height_px"].to_numpy(dtype=float)
    margin = scores["clip_margin"].fillna(-np.inf) if "clip_margin" in scores else np.zeros(len(scores))
    keys = (scores["sha256"], -np.asarray(margin), -scores["sharpness"], -area, scores["label"] != "keep")
    order = np.lexsort([np.asarray(key, dtype="U64" if n == 0 else float) for n, key in enumerate(keys)])
    places = np.empty(len(scores), dtype=int)
    places[order] = np.arange(len(scores))
    return places


def ranked_groups(
    scores: pd.DataFrame, groups: list[np.ndarray], remaining: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """For each group of rows: itself, those of it that remain, and the best of these, or of all when none does."""
    order = ranks(scores)
    for group in groups:
        ranked = group[np.argsort(order[group])]
        left = ranked[remaining[ranked]]
        yield group, left, int(left[0] if len(left) else ranked[0])
