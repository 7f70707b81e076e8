"""Damage in the compressed pixels of a JPEG or a lossy WebP, which decoders draw as garbage without an error.

Such data have no checksum. What shows the damage: a JPEG whose codes run past its end, end early, make no sense or give
colours outside RGB, which no picture has that was ever RGB; and a WebP whose last bytes decide no pixel any more,
because the decoder lost its place before it came to them.
"""

from __future__ import annotations

import io
import re

import numpy as np
import simplejpeg
from PIL import Image

EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
# Marks before the first scan, where a lost byte costs no pixel: tables, frames, comments, applications' data.
HEADER_MARKS = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xDB, 0xE0), *range(0xE0, 0xFF))
RESTARTS = range(0xD0, 0xD8)  # after one of these the decoder has its place again
MAX_PADDING_BYTES = 64
SMALL_SLIP_BYTES = 8  # by which cameras of moving pictures overrun a restart
ODD_SAMPLING = "Could not determine subsampling level"  # of colours: few files have them so
REDUCED = 8  # by which a JPEG is decoded at no cost, to the mean colours of its blocks
OUTSIDE_LEVELS = 40.0  # below 0 or above 255; the coarsest compression moves mean colours by less
MAX_SHARE_OUTSIDE = 0.01  # of the blocks; sound files have 0.0005 at most
LAST_BYTES = 8  # of a WebP's pixels, that are turned over
LOSSY_WEBP = b"VP8 "
MIN_WEBP_BYTES = 200  # of the pixels; a picture of one colour has fewer, of which the last may be idle


def damage(content: bytes, form: str, image: Image.Image) -> str:
    """What is wrong with the compressed pixels of a file, as the end of a sentence; empty: nothing that can be seen.

    `form` is the format of the file, `image` what Pillow opened it as.
    """
    if form == "JPEG":
        return _jpeg_damage(content, image)
    if form == "WEBP":
        return _webp_damage(content)
    return ""


def _jpeg_damage(content: bytes, image: Image.Image) -> str:
    """By libjpeg's own warnings, which Pillow drops, at an eighth of the size: only the codes matter."""
    colours = "CMYK" if image.mode == "CMYK" else "GRAY"
    try:
        simplejpeg.decode_jpeg(content, colours, fastdct=True, fastupsample=True, min_factor=8, strict=True)
    except ValueError as error:
        return _of_warning(str(error), content) or _of_sampling(str(error), image)
    return "it has colours that cannot be" if _share_outside_rgb(content) > MAX_SHARE_OUTSIDE else ""


def _share_outside_rgb(content: bytes) -> float:
    """The share of blocks whose mean colour (YCbCr, ITU-R BT.601) lies far outside RGB; 0 for grey and CMYK."""
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        image.draft("YCbCr", (max(1, image.width // REDUCED), max(1, image.height // REDUCED)))
        if image.mode != "YCbCr":
            return 0.0
        levels = np.asarray(image, dtype=np.float32)
    y, blue, red = levels[..., 0], levels[..., 1] - 128, levels[..., 2] - 128
    rgb = np.stack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue])
    return float(((rgb.min(axis=0) < -OUTSIDE_LEVELS) | (rgb.max(axis=0) > 255 + OUTSIDE_LEVELS)).mean())


def _of_warning(warning: str, content: bytes) -> str:
    if found := EXTRANEOUS.search(warning):
        n, mark = int(found[1]), int(found[2], 16)
        harmless = mark in HEADER_MARKS or (mark in RESTARTS and n < SMALL_SLIP_BYTES) or _is_padding(content, n, mark)
        return "" if harmless else f"{n} bytes of its pixels are left over"
    if "premature end" in warning.lower():
        return "its pixels end too early"
    nonsense = any(word in warning for word in ("Huffman", "RST", "progression", "arithmetic"))
    return "the codes of its pixels make no sense" if nonsense else ""


def _is_padding(content: bytes, n: int, mark: int) -> bool:
    """Whether the few bytes before one of these marks are of one value, as some cameras fill up a scan."""
    if n > MAX_PADDING_BYTES:
        return False
    marks = re.finditer(re.escape(bytes([0xFF, mark])), content)
    return any(len(set(content[max(0, found.start() - n) : found.start()])) == 1 for found in marks)


def _of_sampling(problem: str, image: Image.Image) -> str:
    """Of a file that only Pillow decodes: whether its first component, brightness or cyan, is not the finest one."""
    factors = [(across, down) for _, across, down, _ in getattr(image, "layer", ())]
    if ODD_SAMPLING not in problem or not factors:
        return ""
    finest = max(across for across, _ in factors), max(down for _, down in factors)
    return "" if factors[0] == finest else "its colours are sampled as no program does it"


def _webp_damage(content: bytes) -> str:
    found = _lossy_pixels(content)
    if len(found) < MIN_WEBP_BYTES:  # lossless, moving or next to empty
        return ""
    turned = found[:-LAST_BYTES] + bytes(255 - byte for byte in found[-LAST_BYTES:])
    drawn = _webp_pixels(found)
    return "its last bytes decide no pixel" if drawn and drawn == _webp_pixels(turned) else ""


def _lossy_pixels(content: bytes) -> bytes:
    """The body of the chunk with the pixels of a lossy WebP that does not move; empty when there is none."""
    at = 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if content[at : at + 4] == LOSSY_WEBP:
            return content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return b""


def _webp_pixels(pixels: bytes) -> bytes | None:
    """Decoded alone, without transparency and metadata; None when it cannot be."""
    padded = pixels + bytes(len(pixels) % 2)
    chunk = LOSSY_WEBP + len(pixels).to_bytes(4, "little") + padded
    content = b"RIFF" + (len(chunk) + 4).to_bytes(4, "little") + b"WEBP" + chunk
    try:
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as image:
            return image.tobytes()
    except (OSError, ValueError):
        return None
