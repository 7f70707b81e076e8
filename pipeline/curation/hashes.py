"""Perceptual hashes (imagehash), of a picture and of its mirror image."""

from __future__ import annotations

from dataclasses import dataclass

import imagehash
from PIL import Image, ImageOps


@dataclass(frozen=True)
class Hashes:
    """64 bits each: the DCT hash and the gradient hash, as seen and mirrored."""

    phash: int
    dhash: int
    mirrored_phash: int
    mirrored_dhash: int


def of(grey: Image.Image) -> Hashes:
    """Of a grey picture (mode L); the hashes reduce it to 32 px and 9 px, so a small one tells as much."""
    mirrored = ImageOps.mirror(grey)
    return Hashes(_bits(imagehash.phash(grey)), _bits(imagehash.dhash(grey)),
                  _bits(imagehash.phash(mirrored)), _bits(imagehash.dhash(mirrored)))  # fmt: skip


def text(bits: int) -> str:
    """As tables hold it: 16 hexadecimal digits."""
    return f"{bits:016x}"


def distance(one: int, other: int) -> int:
    """How many of the 64 bits differ."""
    return (one ^ other).bit_count()


def _bits(found: imagehash.ImageHash) -> int:
    return int(str(found), 16)
