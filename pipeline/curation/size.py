"""Large enough to learn from, and no strip. Sizes are those of the upright picture without plain borders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.records import Rejection
from pipeline.curation.findings import CheckFindings, rows

if TYPE_CHECKING:  # children that decode need neither
    import pandas as pd

    from pipeline.core.params import Curate


def check(scores: pd.DataFrame, alive: np.ndarray, params: Curate) -> CheckFindings:
    """Drop as `too_small` when the shorter side (the score, in px) is below `min_side_px`, as `bad_aspect` when the
    longer side is more than `max_aspect` times the shorter one (the score is that ratio)."""
    sides = scores[["width_px", "height_px"]].to_numpy(dtype=float)
    shorter, aspect = sides.min(axis=1), sides.max(axis=1) / sides.min(axis=1)
    small, long = alive & (shorter < params.min_side_px), alive & (aspect > params.max_aspect)
    drops = {row: _long(sides[row], aspect[row], params.max_aspect) for row in rows(long)}
    return CheckFindings(drops | {row: _small(sides[row], params.min_side_px) for row in rows(small)})


def _small(sides: np.ndarray, least: int) -> Rejection:
    sentence = f"{_shown(sides)}: its shorter side has less than {least} px."
    return Rejection("size", "too_small", sentence, float(sides.min()))


def _long(sides: np.ndarray, aspect: float, most: float) -> Rejection:
    sentence = f"{_shown(sides)}: its longer side is {aspect:.1f} times the shorter one, and at most {most:g} is asked."
    return Rejection("size", "bad_aspect", sentence, round(float(aspect), 2))


def _shown(sides: np.ndarray) -> str:
    return f"{sides[0]:.0f} x {sides[1]:.0f} px"
