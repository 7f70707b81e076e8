"""Perceptual hashes (imagehash), of a picture and of its mirror image."""

from __future__ import annotations

from dataclasses import dataclass

import imagehash
from PIL import Image, ImageOps

PHASH_PX, DHASH_PX = (32, 32), (9, 8)


@dataclass(frozen=True)
class Hashes:
    """64 bits each: the DCT hash and the gradient hash, as seen and mirrored."""

    phash: int
    dhash: int
    mirrored_phash: int
    mirrored_dhash: int


def of(grey: Image.Image) -> Hashes:
    """Of a grey picture (mode L); the hashes reduce it to 32 x 32 and 9 x 8 px, so a small one gives the same."""
    # At those sizes imagehash reduces no more: what is reduced once serves for the mirror image too.
    p, d = (grey.resize(size, Image.Resampling.LANCZOS) for size in (PHASH_PX, DHASH_PX))
    return Hashes(
        _bits(imagehash.phash(p)),
        _bits(imagehash.dhash(d)),
        _bits(imagehash.phash(ImageOps.mirror(p))),
        _bits(imagehash.dhash(ImageOps.mirror(d))),
    )


def text(bits: int) -> str:
    """16 hexadecimal digits, as tables hold it."""
    return f"{bits:016x}"


def distance(one: int, other: int) -> int:
    """How many of the 64 bits differ."""
    return (one ^ other).bit_count()


def _bits(found: imagehash.ImageHash) -> int:
    return int(str(found), 16)
