"""Destroyed picture files: what becomes of a sound one on a bad disk, a bad line or in a careless program."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.pictures import encoded

Files = Iterator[tuple[str, bytes]]


def damaged_files(image: Image.Image, seed: int) -> Files:
    """Files of a picture whose compressed pixels were damaged so that much of it is lost, by what was done."""
    rng = random.Random(seed)
    for name, options in (
        ("plain", {}),
        ("restarts", {"restart_marker_rows": 2}),
        ("progressive", {"progressive": True}),
    ):
        content = encoded(image, "JPEG", quality=rng.choice([60, 75, 90]), **options)
        start = _first_scan(content)
        middle = rng.randrange(start + (len(content) - start) // 4, start + (len(content) - start) // 2)
        yield f"{name} JPEG, a fifth cut out", content[:middle] + content[middle + (len(content) - start) // 5 :]
        yield f"{name} JPEG, ended in the middle", content[:middle] + b"\xff\xd9"
        yield f"{name} JPEG, zeros to its end", content[:middle] + bytes(len(content) - 2 - middle) + b"\xff\xd9"
    marks = encoded(image, "JPEG", restart_marker_rows=1)
    at = rng.choice(
        [n for n in range(_first_scan(marks), len(marks) - 1) if marks[n] == 0xFF and 0xD0 <= marks[n + 1] <= 0xD7]
    )
    yield "JPEG, a restart mark dropped", marks[:at] + marks[at + 2 :]
    lossy = encoded(image, "WEBP", quality=75)
    yield "WebP, one bit turned", _turned(lossy, (len(lossy) // 4, len(lossy) // 2), 1, rng)
    yield "WebP, forty bits turned", _turned(lossy, (60, len(lossy)), 40, rng)
    png = encoded(image)
    yield "PNG, one bit turned", _turned(png, (60, len(png) - 20), 1, rng)
    yield "PNG, a third missing", png[: len(png) * 2 // 3]


def garbage_pictures(image: Image.Image, seed: int) -> Iterator[tuple[str, Image.Image]]:
    """What decoders and faulty programs have made of a picture, saved again: the file is sound, the pixels are not."""
    rng = np.random.default_rng(seed)
    levels = np.asarray(image.convert("RGB")).astype(int)
    height, width, _ = levels.shape
    lower = np.arange(height)[:, None, None] >= height // 2

    def blocks(rows: int, columns: int) -> np.ndarray:
        side_y, side_x = -(-height // rows), -(-width // columns)
        return rng.integers(0, 256, (rows, columns, 3)).repeat(side_y, 0).repeat(side_x, 1)[:height, :width]

    specks = np.where(rng.random((height, width, 1)) < 0.002, 255, 0)
    made = {
        "noise": blocks(height, width),
        "noise in the lower half": np.where(lower, blocks(height, width), levels),
        "grey and noise": np.where(lower, blocks(height, width), 128),
        "stripes from side to side": blocks(height, 1),
        "stripes from top to bottom": blocks(1, width),
        "scattered blocks": blocks(height // 8, width // 8),
        "one colour": np.full_like(levels, rng.integers(256)),
        "almost one colour": levels * 0 + rng.integers(3, 250) + rng.integers(-1, 2, (height, width, 1)),
        "black with a few specks": levels * 0 + specks,
    }
    for name, pixels in made.items():
        yield name, Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def turned_bits(image: Image.Image, seed: int, bits: int) -> bytes:
    """A JPEG with so many wrong bits at random places of its pixels, as an old disk leaves it."""
    content = encoded(image, "JPEG", quality=80)
    return _turned(content, (_first_scan(content), len(content) - 2), bits, random.Random(seed))


def _first_scan(content: bytes) -> int:
    """Where the codes of a JPEG's first scan start."""
    at = content.index(b"\xff\xda")
    return at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")


def _turned(content: bytes, span: tuple[int, int], bits: int, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(bits):
        changed[rng.randrange(*span)] ^= 1 << rng.randrange(8)
    return bytes(changed)
