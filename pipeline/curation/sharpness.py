"""Sharpness and detail of a grey picture: variance of the Laplacian, and the least size that holds what it shows."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageStat

SIDES_PX = (192, 128, 96, 64, 48, 32, 16)
INVISIBLE_LOSS_LEVELS = 2.0  # grey levels (root mean square) that a smaller size may lose unseen


def laplacian_variance(grey: Image.Image) -> float:
    """Variance of the 4-neighbour Laplacian of a grey picture (mode L), in squared grey levels."""
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
        if _loss_levels(grey, side_px) > INVISIBLE_LOSS_LEVELS:
            break
        least = side_px
    return least


def _loss_levels(grey: Image.Image, side_px: int) -> float:
    """Root mean square of the grey levels that are lost by reducing to a shorter side and enlarging again."""
    scale = side_px / min(grey.size)
    width, height = (max(1, round(side * scale)) for side in grey.size)
    small = grey.resize((width, height), Image.Resampling.BOX)
    again = small.resize(grey.size, Image.Resampling.BICUBIC)
    return ImageStat.Stat(ImageChops.difference(again, grey)).rms[0]
