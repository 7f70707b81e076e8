"""From pixels to numbers: everything that verdicts are made of is measured once, where the picture is decoded."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from pipeline.curation import borders, detail, hashes

MEASURED_PX = 256  # shorter side; at one size a number means the same for large and small files
COLOURS_PX = 32  # mean colours need no more

Shrink = Callable[[Image.Image, int], Image.Image]  # to a shorter side in px; a smaller picture stays as it is


@dataclass(frozen=True, slots=True)
class Measures:
    """One picture, upright and without plain borders: sizes in px, sharpness in squared grey levels, entropy in bits.

    `detail_px` is the least shorter side that would hold what it shows; `hue_deg` (0 is red), `saturation` and
    `lightness` (0..1) are those of its mean colour; `png_sha256` is of the reduced picture's file. Hashes are 16
    hexadecimal digits, as seen and mirrored.
    """

    width_px: int
    height_px: int
    format: str
    frames: int
    sharpness: float
    entropy_bits: float
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


def look(image: Image.Image, *, crop: bool, side_px: int, shrink: Shrink) -> tuple[Image.Image, dict[str, Any]]:
    """An upright RGB picture without its plain borders (if they are to be cropped), reduced to a shorter side of
    `side_px`, and by their names the measures of the unreduced one: all of `Measures` but those of files."""
    cropped = borders.crop(image) if crop else image
    reduced = shrink(cropped, side_px)
    # What is reduced already is measured faster, and no differently while it is far from the size of the measures.
    measures = _measures(reduced if side_px >= 2 * MEASURED_PX else cropped, min(cropped.size))
    known = {"width_px": cropped.width, "height_px": cropped.height}
    return reduced, known | measures | {"pixel_sha256": pixel_sha256(reduced, cropped.size)}


def _measures(image: Image.Image, shorter_px: int) -> dict[str, Any]:
    """What a picture tells at one size, reduced from `shorter_px` before or not."""
    grey = _small(image.convert("L"))
    return {
        "sharpness": round(detail.sharpness(grey), 2),
        "entropy_bits": round(abs(grey.entropy()), 3),  # of one colour it is -0.0
        "detail_px": detail.detail_px(grey, shorter_px),
        **{name: hashes.text(bits) for name, bits in asdict(hashes.of(grey)).items()},
        **_colour(image),
    }


def _small(grey: Image.Image) -> Image.Image:
    scale = min(1.0, MEASURED_PX / min(grey.size))
    size = tuple(max(1, round(side * scale)) for side in grey.size)
    return grey.resize(size, Image.Resampling.BOX)


def pixel_sha256(reduced: Image.Image, size: tuple[int, int]) -> str:
    """sha256 over the pixels that are kept and the size before: equal for the same picture in other lossless files."""
    return hashlib.sha256(f"{size} ".encode() + reduced.tobytes()).hexdigest()


def _colour(image: Image.Image) -> dict[str, float]:
    """Hue, saturation and lightness (HSL) of the mean colour."""
    few = image.reduce(max(1, min(image.size) // COLOURS_PX))
    red, green, blue = (float(value) / 255 for value in np.asarray(few, dtype=np.float64).mean(axis=(0, 1)))
    high, low = max(red, green, blue), min(red, green, blue)
    room = 1 - abs(high + low - 1)  # how far apart the channels of a colour of this lightness can lie
    hue_deg = math.degrees(math.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360
    saturation = (high - low) / room if room > 0 else 0.0
    return {"hue_deg": round(hue_deg, 1), "saturation": round(saturation, 3), "lightness": round((high + low) / 2, 3)}
