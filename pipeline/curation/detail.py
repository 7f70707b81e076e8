"""How much a picture holds: sharpness, information and the size that would do.

Pencil on white and soft painting have little of each compared with photographs, so none is a reason alone, except for
photographs, and each is compared inside a medium.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops, ImageStat

from pipeline.core.records import Rejection
from pipeline.curation.findings import CheckFindings, rows

if TYPE_CHECKING:  # children that decode need neither
    import pandas as pd

    from pipeline.core.params import Curate

PHOTOGRAPH = "photograph"  # the medium of `curate.media` in which softness or emptiness alone is a fault
PEERS = 8  # a medium with fewer pictures is compared with all
SIDES_PX = (192, 128, 96, 64, 48, 32, 16)
LOST_LEVELS = 2.0  # grey levels (root mean square) that a smaller size may lose unseen


def check(scores: pd.DataFrame, alive: np.ndarray, params: Curate) -> CheckFindings:
    """Drop as `blurred` what is soft and was blown up, as `low_information` what is plain and soft; as either with one
    reason alone when it is a photograph. What has one reason and is none is for people to look at.

    Soft: the sharpness (the score) is below `min_sharpness`; plain: the entropy (the score) is below
    `min_entropy_bits`; blown up: a picture of `min_side_px` would hold all of its detail.
    """
    soft = alive & _below(scores, "sharpness", params.min_sharpness)
    plain = alive & _below(scores, "entropy_bits", params.min_entropy_bits)
    blown = alive & (scores["detail_px"] <= params.min_side_px).to_numpy()
    photograph = (scores["medium"] == PHOTOGRAPH).to_numpy()
    empty, blurred = plain & (soft | photograph), soft & (blown | photograph)
    drops = {row: _blurred(scores.iloc[row], params) for row in rows(blurred)}
    drops |= {row: _empty(scores.iloc[row], params) for row in rows(empty)}
    doubts = {row: _doubt(scores.iloc[row], soft[row]) for row in rows((soft | plain) & ~empty & ~blurred)}
    return CheckFindings(drops, doubts=doubts)


def sharpness(grey: Image.Image) -> float:
    """Variance of the 4-neighbour Laplacian of a grey picture (mode L)."""
    levels = np.asarray(grey, dtype=np.int16)
    if min(levels.shape) < 3:
        return 0.0
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    return float((around - 4 * levels[1:-1, 1:-1]).astype(np.float32).var(dtype=np.float64))


def detail_px(grey: Image.Image, shorter_px: int) -> int:
    """The least of `SIDES_PX` to which a picture of `shorter_px` can be reduced and enlarged again unseen.

    `grey` (mode L) is that picture, reduced or not; `shorter_px` itself when any reduction is seen.
    """
    least = shorter_px
    for side_px in (side for side in SIDES_PX if side < min(grey.size)):
        if _lost(grey, side_px) > LOST_LEVELS:
            break
        least = side_px
    return least


def _lost(grey: Image.Image, side_px: int) -> float:
    """Root mean square of the grey levels that are lost on the way to a size and back."""
    scale = side_px / min(grey.size)
    small = grey.resize([max(1, round(side * scale)) for side in grey.size], Image.Resampling.BOX)
    again = small.resize(grey.size, Image.Resampling.BICUBIC)
    return ImageStat.Stat(ImageChops.difference(again, grey)).rms[0]


def _below(scores: pd.DataFrame, column: str, least: float) -> np.ndarray:
    """Where a measure is below `least`, scaled by how much its medium has of it compared with all pictures.

    A medium of `PEERS` pictures or more has its own median; the scale is never above one: a medium that is rich as a
    whole is no reason to ask more of a picture than params.yaml does.
    """
    medians = scores.groupby("medium")[column].transform("median")
    enough = scores.groupby("medium")[column].transform("size") >= PEERS
    overall = scores[column].median()
    scale = (medians / overall).where(enough & (overall > 0), 1.0).clip(upper=1.0)
    return (scores[column] < least * scale).to_numpy()


def _blurred(row: pd.Series, params: Curate) -> Rejection:
    alone = row["medium"] == PHOTOGRAPH
    why = "for a photograph" if alone else f"and {row['detail_px']:.0f} px would hold all its detail"
    sentence = f"It is blurred: sharpness {row['sharpness']:.0f} {why}; at least {params.min_sharpness:g} is asked."
    return Rejection("detail", "blurred", sentence, float(row["sharpness"]))


def _empty(row: pd.Series, params: Curate) -> Rejection:
    sentence = (
        f"There is next to nothing on it: {row['entropy_bits']:.1f} bits of information, and at least "
        f"{params.min_entropy_bits:g} are asked."
    )
    return Rejection("detail", "low_information", sentence, float(row["entropy_bits"]))


def _doubt(row: pd.Series, soft: bool) -> str:
    measured = f"soft (sharpness {row['sharpness']:.0f})" if soft else f"plain ({row['entropy_bits']:.1f} bits)"
    return f"It is {measured}, which alone is no fault of a painting or drawing."
