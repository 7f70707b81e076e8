"""Image codecs: pictures from outside, decoded safely; pictures to disk, always as the same bytes.

A file is named and read by its first bytes, never by its name. Only the formats of `FORMATS` are opened, nothing is
decoded before its size is known, and what is broken is a `Rejection` with one of the codes of `decode_codes`, never an
exception. `pipeline.io.images.decoding` does the same in child processes that may be killed.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar, cast

import numpy as np
from isal import isal_zlib
from PIL import Image, ImageChops, ImageCms, ImageOps, UnidentifiedImageError

from pipeline.core.records import Rejection
from pipeline.io.images.entropy_coding import damage
from pipeline.io.images.truncation import is_complete

T = TypeVar("T")

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "AVIF": "avif"}
# A phone's JPEG may hold further pictures (Pillow calls it MPO then): a gain map, a depth map; they are never opened.
STILL = ("JPEG", "BMP")
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
# What Pillow's decoders raise on broken files (its bomb error is no OSError).
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    AssertionError,
    struct.error,
    zlib.error,
    MemoryError,
    Image.DecompressionBombError,
)
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
MAX_PROFILE_BYTES = 4 * 2**20  # the largest honest ICC profiles have about two million bytes
PROFILES_KEPT = 8  # colour transforms; most pictures of a collection share one
SAME_LEVELS = 2  # a profile that moves no colour further than this is sRGB by another name
# A picture that is 2.2 times too large, or more, is first reduced by a whole number. Against Lanczos alone that is
# 42 to 45 dB on photographs and paintings in less than half the time; the bicubic filter, for others, 46 dB in 70 %.
REDUCING_GAP = 1.1  # Pillow's measure of the same: twice that and more is reduced
AVERAGE_FILTER, RGB_8_BIT = 3, (8, 2, 0, 0, 0)
PNG_LEVEL = 2  # of ISA-L
BMP_HEADER_BYTES = (12, 16, 40, 52, 56, 64, 108, 124)
OTHER_IMAGES = {
    "a HEIC picture": rb"....ftyp(heic|heix|hevc|heim|heis|mif1|msf1)",
    "an SVG drawing": rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg",
    "a Photoshop file": rb"8BPS",
    "a JPEG 2000 picture": rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51",
    "a JPEG XL picture": rb"\xff\x0a|\x00\x00\x00\x0cJXL ",
    "an icon": rb"\x00\x00[\x01\x02]\x00",
    "a PostScript file": rb"%!PS|\xc5\xd0\xd3\xc6",
}
NO_IMAGES = {
    "an HTML page": rb"\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)",
    "an XML file": rb"\s*<\?xml",
    "a PDF file": rb"%PDF",
    "an archive": rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf",
    "a video": rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI",
    "a JSON text": rb"\s*[\[{]",
}


def sniff(content: bytes) -> str:
    """The format that the first bytes promise, as a key of `FORMATS`; empty when it is none of them."""
    head = content[:64]
    starts = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "GIF": b"GIF8"}
    named = next((name for name, magic in starts.items() if head.startswith(magic)), "")
    if named:
        return named
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[4:8] == b"ftyp" and re.search(rb"avif|avis", head[8:]):
        return "AVIF"
    # Two letters do not distinguish a bitmap from a text that starts with "BM".
    return "BMP" if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADER_BYTES else ""


def refuse(content: bytes) -> Rejection | None:
    """Why these bytes are no picture that could be read, judged by their beginning alone; None when they may be one."""
    if not content:
        return Rejection("bytes", "empty_file", "The file is empty; download or copy it again.", 0.0)
    if sniff(content):
        return None
    kind = _kind(content, OTHER_IMAGES)
    if kind:
        return Rejection("bytes", "unsupported_format", f"It is {kind}; convert it to {READABLE}.")
    kind = _kind(content, NO_IMAGES) or "something else"
    return Rejection("bytes", "not_an_image", f"By its first bytes it is {kind}, not {READABLE}.")


@dataclass(frozen=True)
class DecodedImage:
    """`image` is upright, in sRGB (mode RGB), its first frame if it moves; `format` is a key of `FORMATS`."""

    image: Image.Image
    format: str
    n_frames: int


def decode(content: bytes, max_pixels: int) -> Image.Image | Rejection:
    """The first frame of a picture, upright, in sRGB, on white where it was transparent; or why there is none.

    The result has mode RGB, the size of the upright picture and no metadata.
    """
    refused = refuse(content)
    return refused if refused is not None else _guarded(content, max_pixels, lambda: _decode(content, max_pixels))


def decode_all_frames(content: bytes, max_pixels: int, max_frames: int) -> DecodedImage | Rejection:
    """Like `decode`, after each frame was decoded once: a damaged one, or too many of them, is a `Rejection`."""
    image = decode(content, max_pixels)
    if isinstance(image, Rejection):
        return image
    form = sniff(content)
    frames: int | Rejection = 1
    if form not in STILL:
        frames = _guarded(content, max_pixels, lambda: _count_frames(content, max_pixels, max_frames))
    return frames if isinstance(frames, Rejection) else DecodedImage(image, form, frames)


def shrink(image: Image.Image, shorter_side_px: int) -> Image.Image:
    """Reduce to this shorter side; a smaller picture stays as it is."""
    scale = shorter_side_px / min(image.size)
    if scale >= 1:
        return image
    width, height = (max(shorter_side_px, round(side * scale)) for side in image.size)
    resample = Image.Resampling.LANCZOS if scale * 2 * REDUCING_GAP <= 1 else Image.Resampling.BICUBIC
    return image.resize((width, height), resample, reducing_gap=REDUCING_GAP)


def png(image: Image.Image) -> bytes:
    """Lossless, RGB, without metadata.

    With one filter (each byte less the average of those to its left and above) and ISA-L's deflate it takes a seventh
    of the time of Pillow's fastest for the same size.
    """
    width, height = image.size
    rows = np.asarray(image.convert("RGB") if image.mode != "RGB" else image).reshape(height, width * 3)
    left, above = np.zeros_like(rows), np.zeros_like(rows)
    left[:, 3:], above[1:] = rows[:, :-3], rows[:-1]
    filtered = np.empty((height, 1 + width * 3), np.uint8)
    filtered[:, 0] = AVERAGE_FILTER
    np.subtract(rows, (left & above) + ((left ^ above) >> 1), out=filtered[:, 1:])
    header = struct.pack(">II5B", width, height, *RGB_8_BIT)
    chunks = {b"IHDR": header, b"IDAT": isal_zlib.compress(filtered, PNG_LEVEL), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in chunks.items())


def thumbnail(image: Image.Image, side_px: int) -> bytes:
    """A WebP whose longer side is at most `side_px`."""
    scale = min(1.0, side_px / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    sink = io.BytesIO()
    # What is quick will do: nothing is measured on a thumbnail.
    small = image.resize((width, height), Image.Resampling.HAMMING, reducing_gap=1.0)
    small.save(sink, "WEBP", quality=82, method=0)
    return sink.getvalue()


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", isal_zlib.crc32(body, isal_zlib.crc32(name)))


def _kind(content: bytes, kinds: dict[str, bytes]) -> str:
    head = content[:1024].removeprefix(b"\xef\xbb\xbf")
    return next((kind for kind, start in kinds.items() if re.match(start, head, re.IGNORECASE | re.DOTALL)), "")


def _guarded(content: bytes, max_pixels: int, work: Callable[[], T | Rejection]) -> T | Rejection:
    """What `work` makes of the content, or why the decoder failed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata that is not used here
            return work()
    except Image.DecompressionBombError:
        return _too_many("The picture", max_pixels)
    except MemoryError:
        return too_much_memory()
    except BROKEN as error:
        return _broken(content, error)


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content), formats=list(FORMATS))


def _decode(content: bytes, max_pixels: int) -> Image.Image | Rejection:
    image = _open(content)
    if image.width * image.height > max_pixels:
        return _too_many(f"{image.width} x {image.height} pixels", max_pixels)
    if not is_complete(content, sniff(content)):
        return _truncated()
    image.load()
    if problem := damage(content, sniff(content), image):
        return Rejection("decode", "corrupt_data", f"The file is damaged and is drawn as garbage: {problem}.")
    return _clean(_on_white(_upright(image)))


def _count_frames(content: bytes, max_pixels: int, max_frames: int) -> int | Rejection:
    """How many frames there are, each of them decoded."""
    image = _open(content)
    for number in range(1, max_frames + 1):
        try:
            image.seek(number)
        except EOFError:
            return number
        except BROKEN as error:
            return _broken_frame(number, error)
        problem = _frame_problem(image, max_pixels)
        if problem:
            return _broken_frame(number, problem)
    return _too_many_frames(max_frames)


def _frame_problem(image: Image.Image, max_pixels: int) -> BaseException | None:
    if image.width * image.height > max_pixels:
        return Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
    try:
        image.load()
    except BROKEN as error:
        return error
    return None


def too_much_memory() -> Rejection:
    return Rejection("decode", "too_much_memory", "Decoding it needs more memory than curate.decode.memory_mb allows.")


def _too_many_frames(max_frames: int) -> Rejection:
    sentence = f"It is an animation of more than the {max_frames} frames that curate.decode.max_frames allows."
    return Rejection("decode", "too_many_frames", sentence)


def _broken_frame(number: int, error: BaseException) -> Rejection:
    if isinstance(error, MemoryError):
        return too_much_memory()
    sentence = f"Frame {number + 1} of the animation is damaged or too large and cannot be decoded ({_detail(error)})."
    return Rejection("decode", "broken_frame", sentence)


def _too_many(what: str, max_pixels: int) -> Rejection:
    sentence = (
        f"{what} would need more than the {max_pixels} pixels that curate.decode.max_pixels allows; it was not decoded."
    )
    return Rejection("decode", "too_many_pixels", sentence)


def _truncated() -> Rejection:
    return Rejection("decode", "truncated", "A part of the file is missing, mostly its end; download or copy it again.")


def _broken(content: bytes, error: BaseException) -> Rejection:
    if "memory" in str(error).lower():  # a codec's own message
        return too_much_memory()
    if "truncated" in str(error).lower() or not is_complete(content, sniff(content)):
        return _truncated()
    return Rejection("decode", "undecodable", f"The file is damaged and cannot be decoded ({_detail(error)}).")


def _detail(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        # Pillow names the in-memory file by its address, which would differ from run to run.
        return "its header makes no sense"
    return " ".join(str(error).split())[:120] or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    try:
        ImageOps.exif_transpose(image, in_place=True)  # else it is copied even when there is nothing to turn
    except MemoryError:
        raise
    except BROKEN:  # damaged EXIF does not mean damaged pixels
        pass
    return image


def _on_white(image: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white, the ground that drawings are made on."""
    if not image.has_transparency_data:
        return _srgb(image)
    with_alpha = image if image.mode == "RGBA" else image.convert("RGBA")
    colours = _srgb(with_alpha.convert("RGB"))
    colours.paste("white", mask=ImageChops.invert(with_alpha.getchannel("A")))
    return colours


def _srgb(image: Image.Image) -> Image.Image:
    image = _eight_bit(image)
    profile = image.info.get("icc_profile") or b""
    if image.mode == "LAB":
        return _applied(_transform(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB"), image)
    if 0 < len(profile) <= MAX_PROFILE_BYTES:
        try:
            transform = _to_srgb(profile, image.mode)
            return _applied(transform, image) if transform else image
        except MemoryError:
            raise
        except (ImageCms.PyCMSError, *BROKEN):  # a damaged or unfitting profile is no reason to drop a picture
            pass
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(PROFILES_KEPT)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the colours of an ICC profile; None when that would change no colour visibly."""
    transform = _transform(ImageCms.ImageCmsProfile(io.BytesIO(profile)), mode)
    if mode != "RGB":
        return transform
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    moved = np.asarray(_applied(transform, Image.fromarray(colours))).astype(int) - colours
    return transform if np.abs(moved).max() > SAME_LEVELS else None


def _applied(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # that is so only where it converts in place
    return converted


def _transform(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Palettes to colours; grey with more than 8 bits to its upper 8: Pillow's own conversion would cut it at 255."""
    if image.mode in ("P", "1"):
        return image.convert("RGB")
    if image.mode not in DEEP_MODES:
        return image
    top = cast(tuple[float, float], image.getextrema())[1]  # of one band
    steps = 256 if 255 < top < 65536 else max(1.0, top / 255)
    return image.convert("F").point(lambda value: value * (1 / steps) + 0).convert("L")


def _clean(image: Image.Image) -> Image.Image:
    image.info = {}  # or PNG would carry the old profile and transparency along
    return image
