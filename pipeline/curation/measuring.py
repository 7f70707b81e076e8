"""From pixels to a `Look`: everything that checks need is measured once."""

from __future__ import annotations

import hashlib

from PIL import Image

from pipeline.curation import hashes, sharpness
from pipeline.curation.looks import Look


def look_at(sha256: str, name: str, original: Image.Image, reduced: Image.Image, trusted: bool = False) -> Look:
    """Measure an upright RGB picture; `reduced` is what stays in memory."""
    return Look(
        sha256=sha256,
        name=name,
        image=reduced,
        width_px=original.width,
        height_px=original.height,
        sharpness=round(sharpness.measure(original), 2),
        pixel_sha256=pixel_sha256(original),
        hashes=hashes.of(original),
        trusted=trusted,
    )


def pixel_sha256(image: Image.Image) -> str:
    """sha256 over size and pixels: equal for the same picture in other lossless files."""
    digest = hashlib.sha256(f"{image.size} {image.mode} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
