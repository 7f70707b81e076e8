"""Perceptual hashes (imagehash), of a picture and of its mirror image."""

from __future__ import annotations

from dataclasses import dataclass

import imagehash
from PIL import Image, ImageOps

HASHED_PX = 256  # the hashes reduce to 32 px and 9 px; going there from a full photograph costs without telling more


@dataclass(frozen=True)
class Hashes:
    """64 bits each: the DCT hash and the gradient hash, as seen and mirrored."""

    phash: int
    dhash: int
    mirrored_phash: int
    mirrored_dhash: int


def of(image: Image.Image) -> Hashes:
    small = image.convert("L")
    small.thumbnail((HASHED_PX, HASHED_PX), Image.Resampling.LANCZOS)
    mirrored = ImageOps.mirror(small)
    return Hashes(_bits(imagehash.phash(small)), _bits(imagehash.dhash(small)),
                  _bits(imagehash.phash(mirrored)), _bits(imagehash.dhash(mirrored)))  # fmt: skip


def text(bits: int) -> str:
    """As tables hold it: 16 hexadecimal digits."""
    return f"{bits:016x}"


def distance(one: int, other: int) -> int:
    """How many of the 64 bits differ."""
    return (one ^ other).bit_count()


def _bits(found: imagehash.ImageHash) -> int:
    return int(str(found), 16)
