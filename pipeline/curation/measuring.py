"""Measures of a picture: everything that checks read of its pixels, measured once, where it is decoded."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from pipeline.curation import borders, hashes, noise_share, sharpness

MEASURED_PX = 256  # shorter side; at one size a number means the same for large and small files
COLOURS_PX = 32  # mean colours need no more

Shrink = Callable[[Image.Image, int], Image.Image]  # to a shorter side in px; a smaller picture stays as it is


@dataclass(frozen=True, slots=True)
class Measures:
    """One picture, upright and without plain borders: sizes in px, sharpness in squared grey levels, entropy in bits.

    `noise_share` (0..1) is how much of it is noise, `detail_px` the least shorter side that would hold what it shows;
    `hue_deg` (0 is red), `saturation` and `lightness` (0..1) are those of its mean colour; `png_sha256` is of the
    reduced picture's file. Hashes are 16 hexadecimal digits, as seen and mirrored.
    """

    width_px: int
    height_px: int
    format: str
    frames: int
    sharpness: float
    entropy_bits: float
    noise_share: float
    detail_px: int
    phash: str
    dhash: str
    mirrored_phash: str
    mirrored_dhash: str
    pixel_sha256: str
    png_sha256: str
    hue_deg: float
    saturation: float
    lightness: float


def measure(image: Image.Image, *, crop: bool, side_px: int, shrink: Shrink) -> tuple[Image.Image, dict[str, Any]]:
    """Reduce an upright RGB picture and measure it.

    Returns the picture without its plain borders (if they are to be cropped), reduced to a shorter side of `side_px`,
    and by their names the measures of the unreduced one: all of `Measures` but those of files.
    """
    cropped = borders.crop(image) if crop else image
    reduced = shrink(cropped, side_px)
    # What is reduced already is measured faster, and no differently while it is far from the size of the measures.
    measures = _at_one_size(reduced if side_px >= 2 * MEASURED_PX else cropped, min(cropped.size))
    size = {"width_px": cropped.width, "height_px": cropped.height}
    return reduced, size | measures | {"pixel_sha256": _pixel_sha256(reduced, cropped.size)}


def _at_one_size(image: Image.Image, shorter_px: int) -> dict[str, Any]:
    """The measures that are taken at `MEASURED_PX`; the picture was reduced from `shorter_px` before, or not."""
    scale = min(1.0, MEASURED_PX / min(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    grey = image.convert("L").resize((width, height), Image.Resampling.BOX)
    return {
        "sharpness": round(sharpness.laplacian_variance(grey), 2),
        "entropy_bits": round(abs(grey.entropy()), 3),  # of one colour it is -0.0
        "noise_share": round(noise_share.noise_share(grey), 3),
        "detail_px": sharpness.detail_px(grey, shorter_px),
        **{name: hashes.text(bits) for name, bits in asdict(hashes.of(grey)).items()},
        **_mean_colour(image),
    }


def _pixel_sha256(reduced: Image.Image, size: tuple[int, int]) -> str:
    """sha256 over the pixels that are kept and the size before: equal for the same picture in other lossless files."""
    return hashlib.sha256(f"{size} ".encode() + reduced.tobytes()).hexdigest()


def _mean_colour(image: Image.Image) -> dict[str, float]:
    """Hue, saturation and lightness (HSL) of the mean colour."""
    small = image.reduce(max(1, min(image.size) // COLOURS_PX))
    red, green, blue = (float(value) / 255 for value in np.asarray(small, dtype=np.float64).mean(axis=(0, 1)))
    high, low = max(red, green, blue), min(red, green, blue)
    chroma_limit = 1 - abs(high + low - 1)  # how far apart the channels of a colour of this lightness can lie
    hue_deg = math.degrees(math.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360
    saturation = (high - low) / chroma_limit if chroma_limit > 0 else 0.0
    return {"hue_deg": round(hue_deg, 1), "saturation": round(saturation, 3), "lightness": round((high + low) / 2, 3)}
