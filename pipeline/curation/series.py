"""Pictures of one series: near duplicates, and pictures whose CLIP embeddings nearly agree.

A series is one scene seen several times: the frames of a shooting, the states of a plate. Its best pictures are kept,
and it is never split between training and holdout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.records import Rejection
from pipeline.curation import union_find
from pipeline.curation.duplicates import worth
from pipeline.curation.findings import CheckFindings

if TYPE_CHECKING:  # children that decode need neither
    import pandas as pd

    from pipeline.core.params import Curate

BLOCK = 2**20  # pairs compared at a time


def check(scores: pd.DataFrame, alive: np.ndarray, params: Curate) -> CheckFindings:
    """Keep the best `series.keep` of each series that are still alive and drop the others as `series`.

    Every picture gets its `series`: the first 16 digits of the sha256 of the best one. Without embeddings a series is a
    group of near duplicates. The score is the place in the series, from 1.
    """
    leaders = join_alike(scores, union_find.by_value(scores["group"].to_numpy(dtype="U16")), params.series.cosine)
    order, names = worth(scores), np.full(len(scores), "", dtype=object)
    findings = CheckFindings(columns={"series": names})
    for series in union_find.members(leaders):
        ranked = series[np.argsort(order[series])]
        living = ranked[alive[ranked]]
        best = living[0] if len(living) else ranked[0]
        names[series] = scores["sha256"].iloc[best][:16]
        for place, row in enumerate(living.tolist(), start=1):
            if place > params.series.keep:
                findings.drops[row] = _rejection(scores["source_id"].iloc[best], place, params.series.keep)
    return findings


def join_alike(scores: pd.DataFrame, leaders: np.ndarray, cosine: float) -> np.ndarray:
    """Join the groups of pictures whose embeddings have at least this cosine."""
    known, rows = embedded(scores)
    height = max(1, BLOCK // max(1, len(known)))
    for start in range(0, len(known), height):
        alike = rows[start : start + height] @ rows[start:].T >= cosine
        one, other = np.nonzero(alike)
        leaders = union_find.join(leaders, known[one + start], known[other + start])
    return leaders


def embedded(scores: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Which rows have an embedding, and the embeddings (k, d), float32."""
    if "embedding" not in scores:
        return np.zeros(0, dtype=int), np.zeros((0, 1), np.float32)
    known = np.flatnonzero(scores["embedding"].notna())
    rows = [np.asarray(row, dtype=np.float32) for row in scores["embedding"].iloc[known]]
    return known, np.stack(rows) if rows else np.zeros((0, 1), np.float32)


def _rejection(best: str, place: int, keep: int) -> Rejection:
    sentence = f"One of a series with {best!r}: it is number {place} of it, and the best {keep} are kept."
    return Rejection("series", "series", sentence, float(place))
