"""Detail check: how much a picture holds, by its sharpness, its entropy and the size that would hold its detail.

Pencil on white and soft painting have little of each compared with photographs, so none is a reason alone, except for
photographs, and each is compared inside a medium.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from pipeline.core.reason_codes import ReasonCode
from pipeline.core.records import Rejection
from pipeline.curation.check import Check, CheckFindings, CheckParams, rows
from pipeline.curation.size import SizeParams

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.core.data_params import Curate

STEP = "with something to see"
PHOTOGRAPH = "photograph"  # the medium of `curate.medium.prompts` in which softness or emptiness alone is a fault
MIN_PEERS = 8  # a medium with fewer pictures is compared with all


class DetailParams(CheckParams):
    """Less is a fault of what `curate.medium` calls a photograph. Paintings and drawings are dropped only with a second
    one: soft and enlarged from fewer than `curate.size.min_side_px`, or soft and plain; with one alone they are for
    people to review."""

    min_sharpness: float = 15.0
    """Variance of the Laplacian of the grey picture at 256 px; paintings have 300 and more."""
    min_entropy_bits: Annotated[float, Field(ge=0)] = 1.0
    """Of the grey values; paintings on white have 2.3 and more."""


class DetailCheck(Check):
    """Drops as `blurred` what is soft and was enlarged, as `low_information` what is plain and soft; as either with one
    reason alone when it is a photograph. What has one reason and is none is for people to review.

    Soft: the sharpness (the score) is below `min_sharpness`; plain: the entropy (the score) is below
    `min_entropy_bits`; enlarged: a picture of `curate.size.min_side_px` would hold all of its detail.
    """

    Params = DetailParams
    codes = (
        ReasonCode(
            "blurred",
            STEP,
            "Blurred",
            "Little detail at any place.",
            "collect sharper ones or lower `curate.detail.min_sharpness`",
        ),
        ReasonCode(
            "low_information",
            STEP,
            "Next to nothing on it",
            "A plain ground with little else.",
            "lower `curate.detail.min_entropy_bits`",
            score_digits=1,
        ),
    )

    def check(self, scores: pd.DataFrame, remaining: np.ndarray, curate: Curate) -> CheckFindings:
        params = DetailParams.of(curate)
        soft = remaining & _below(scores, "sharpness", params.min_sharpness)
        plain = remaining & _below(scores, "entropy_bits", params.min_entropy_bits)
        enlarged = remaining & (scores["detail_px"] <= SizeParams.of(curate).min_side_px).to_numpy()
        photograph = (scores["medium"] == PHOTOGRAPH).to_numpy()
        empty, blurred = plain & (soft | photograph), soft & (enlarged | photograph)
        drops = {row: _blurred(scores.iloc[row], params) for row in rows(blurred)}
        drops |= {row: _low_information(scores.iloc[row], params) for row in rows(empty)}
        doubts = {row: _doubt(scores.iloc[row], soft[row]) for row in rows((soft | plain) & ~empty & ~blurred)}
        return CheckFindings(drops, doubts=doubts)


def _below(scores: pd.DataFrame, column: str, least: float) -> np.ndarray:
    """Where a measure is below `least`, scaled by how much its medium has of it compared with all pictures.

    A medium of `MIN_PEERS` pictures or more has its own median; the scale is never above one: a medium that is rich as
    a whole is no reason to demand more of a picture than params.yaml does.
    """
    medians = scores.groupby("medium")[column].transform("median")
    enough = scores.groupby("medium")[column].transform("size") >= MIN_PEERS
    overall = scores[column].median()
    scale = (medians / overall).where(enough & (overall > 0), 1.0).clip(upper=1.0)
    return np.asarray(scores[column] < least * scale)


def _blurred(row: pd.Series, params: DetailParams) -> Rejection:
    alone = row["medium"] == PHOTOGRAPH
    why = "for a photograph" if alone else f"and {row['detail_px']:.0f} px would hold all its detail"
    measured = f"sharpness {row['sharpness']:.0f} {why}; at least {params.min_sharpness:g} is needed"
    return Rejection("detail", "blurred", f"It is blurred: {measured}.", float(row["sharpness"]))


def _low_information(row: pd.Series, params: DetailParams) -> Rejection:
    sentence = (
        f"There is next to nothing on it: {row['entropy_bits']:.1f} bits of information, and at least "
        f"{params.min_entropy_bits:g} are needed."
    )
    return Rejection("detail", "low_information", sentence, float(row["entropy_bits"]))


def _doubt(row: pd.Series, soft: bool) -> str:
    measured = f"soft (sharpness {row['sharpness']:.0f})" if soft else f"plain ({row['entropy_bits']:.1f} bits)"
    return f"It is {measured}, which alone is no fault of a painting or drawing."
