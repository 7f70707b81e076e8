"""Size check: large enough to learn from, and no strip; sizes are of the upright picture without plain borders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from pipeline.core.param_types import PositiveInt
from pipeline.core.reason_codes import ReasonCode
from pipeline.core.records import Rejection
from pipeline.curation.check import Check, CheckFindings, CheckParams, rows

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.core.data_params import Curate

STEP = "large enough, not too long"


class SizeParams(CheckParams):
    """How small and how long a picture may be."""

    min_side_px: PositiveInt = 96
    """Shorter side, after EXIF rotation and without plain borders."""
    max_aspect: Annotated[float, Field(ge=1)] = 4.0
    """Longer side by shorter side."""


class SizeCheck(Check):
    """Drops as `too_small` when the shorter side (the score, in px) is below `min_side_px`, as `bad_aspect` when the
    longer side is more than `max_aspect` times the shorter one (the score is that ratio)."""

    Params = SizeParams
    codes = (
        ReasonCode(
            "too_small",
            STEP,
            "Too small",
            "Fewer pixels than can be learnt from.",
            "collect larger ones or lower `curate.size.min_side_px`",
        ),
        ReasonCode(
            "bad_aspect",
            STEP,
            "Too long or too tall",
            "Little would be left of them in a square.",
            "raise `curate.size.max_aspect`",
            score_digits=1,
        ),
    )

    def check(self, scores: pd.DataFrame, remaining: np.ndarray, curate: Curate) -> CheckFindings:
        params = SizeParams.of(curate)
        sides = scores[["width_px", "height_px"]].to_numpy(dtype=float)
        shorter, aspect = sides.min(axis=1), sides.max(axis=1) / sides.min(axis=1)
        small, long = remaining & (shorter < params.min_side_px), remaining & (aspect > params.max_aspect)
        drops = {row: _too_long(sides[row], aspect[row], params.max_aspect) for row in rows(long)}
        return CheckFindings(drops | {row: _too_small(sides[row], params.min_side_px) for row in rows(small)})


def _too_small(sides: np.ndarray, min_side_px: int) -> Rejection:
    sentence = f"{_size(sides)}: its shorter side has less than {min_side_px} px."
    return Rejection("size", "too_small", sentence, float(sides.min()))


def _too_long(sides: np.ndarray, aspect: float, max_aspect: float) -> Rejection:
    ratio = f"{aspect:.1f} times the shorter one, and at most {max_aspect:g} is allowed"
    return Rejection("size", "bad_aspect", f"{_size(sides)}: its longer side is {ratio}.", round(float(aspect), 2))


def _size(sides: np.ndarray) -> str:
    return f"{sides[0]:.0f} x {sides[1]:.0f} px"
