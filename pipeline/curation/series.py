"""Series check: near duplicates, and pictures whose CLIP embeddings nearly agree.

A series is one scene seen several times: the frames of a shooting, the states of a plate. Its best pictures are kept,
and it is never split between training and holdout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.param_types import Fraction, PositiveInt
from pipeline.core.reason_codes import ReasonCode
from pipeline.core.records import Rejection
from pipeline.curation import union_find
from pipeline.curation.check import Check, CheckFindings, CheckParams
from pipeline.curation.embeddings import embedded
from pipeline.curation.ranking import ranked_groups

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.core.data_params import Curate

BLOCK_PAIRS = 2**20  # compared at a time


class SeriesParams(CheckParams):
    """How alike the pictures of a series are, and how many of them are kept."""

    cosine: Fraction = 0.97
    """CLIP: pictures this alike are one series, never split; of a species' pictures in the embedded world 99 of 100
    pairs lie below 0.95, the nearest at 0.973."""
    keep: PositiveInt = 8
    """The best of a series; the rest is dropped."""


class SeriesCheck(Check):
    """Keeps the best `keep` of each series that remain and drops the others as `series` (the score is the place in the
    series, from 1).

    Every picture gets its `series`: the first 16 digits of the sha256 of the best one. Without embeddings a series is a
    group of near duplicates.
    """

    Params = SeriesParams
    codes = (
        ReasonCode(
            "series",
            "the best of each series",
            "Of a full series",
            "More pictures of one scene than are kept of it; the best are in the set.",
        ),
    )
    columns = {"series": "str"}

    def check(self, scores: pd.DataFrame, remaining: np.ndarray, curate: Curate) -> CheckFindings:
        params = SeriesParams.of(curate)
        leaders = join_alike(scores, union_find.by_value(scores["group"].to_numpy(dtype="U16")), params.cosine)
        names = np.full(len(scores), "", dtype=object)
        findings = CheckFindings(columns={"series": names})
        for series, left, best in ranked_groups(scores, union_find.members(leaders), remaining):
            names[series] = scores["sha256"].iloc[best][:16]
            for place, row in enumerate(left[params.keep :].tolist(), start=params.keep + 1):
                findings.drops[row] = _rejection(scores["source_id"].iloc[best], place, params.keep)
        return findings


def join_alike(scores: pd.DataFrame, leaders: np.ndarray, cosine: float) -> np.ndarray:
    """Join the groups of pictures whose embeddings have at least this cosine."""
    known, rows = embedded(scores)
    height = max(1, BLOCK_PAIRS // max(1, len(known)))
    for start in range(0, len(known), height):
        alike = rows[start : start + height] @ rows[start:].T >= cosine
        one, other = np.nonzero(alike)
        leaders = union_find.join(leaders, known[one + start], known[other + start])
    return leaders


def _rejection(best: str, place: int, keep: int) -> Rejection:
    sentence = f"One of a series with {best!r}: it is number {place} of it, and the best {keep} are kept."
    return Rejection("series", "series", sentence, float(place))
