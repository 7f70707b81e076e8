"""Pictures from outside, decoded safely; pictures to disk, always as the same bytes.

A file is named and read by its first bytes, never by its name. Only the formats of `FORMATS` are opened, nothing is
decoded before its size is known, and what is broken is a `Rejection` with a stable code, never an exception:
`empty_file`, `not_an_image`, `unsupported_format`, `too_many_pixels`, `truncated`, `undecodable`.
"""

from __future__ import annotations

import io
import re
import struct
import warnings

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from pipeline.core.records import Rejection

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "AVIF": "avif"}
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
# What Pillow's decoders raise on broken files (its bomb error is no OSError).
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, AttributeError, struct.error,
    MemoryError, Image.DecompressionBombError,
)  # fmt: skip
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
MAX_PROFILE_BYTES = 4 * 2**20  # the largest honest ICC profiles have about two million bytes
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
    # Two letters are too little to tell a bitmap from a text that starts with "BM".
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


def decode(content: bytes, max_pixels: int) -> Image.Image | Rejection:
    """The first frame of a picture, upright, in sRGB, on white where it was transparent; or why there is none.

    The result has mode RGB, the size of the upright picture and no metadata.
    """
    refused = refuse(content)
    if refused:
        return refused
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata that is not used here
            return _decode(content, max_pixels)
    except Image.DecompressionBombError:
        return _too_many("The picture", max_pixels)
    except BROKEN as error:
        return _broken(content, error)


def shrink(image: Image.Image, shorter_side_px: int) -> Image.Image:
    """Reduce to this shorter side; a smaller picture stays as it is."""
    scale = shorter_side_px / min(image.size)
    if scale >= 1:
        return image
    size = tuple(max(shorter_side_px, round(side * scale)) for side in image.size)
    return image.resize(size, Image.Resampling.LANCZOS)


def png(image: Image.Image) -> bytes:
    """Lossless, without metadata."""
    return _encoded(image, "PNG")


def thumbnail(image: Image.Image, side_px: int) -> bytes:
    """A WebP whose longer side is at most `side_px`."""
    small = image.copy()
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return _encoded(small, "WEBP", quality=82, method=4)


def _encoded(image: Image.Image, form: str, **options: int) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def _kind(content: bytes, kinds: dict[str, bytes]) -> str:
    head = content[:1024].removeprefix(b"\xef\xbb\xbf")
    return next((kind for kind, start in kinds.items() if re.match(start, head, re.IGNORECASE | re.DOTALL)), "")


def _decode(content: bytes, max_pixels: int) -> Image.Image | Rejection:
    image = Image.open(io.BytesIO(content), formats=list(FORMATS))
    if image.width * image.height > max_pixels:
        return _too_many(f"{image.width} x {image.height} pixels", max_pixels)
    if not _is_whole(content):
        return _truncated()
    image.load()
    return _clean(_on_white(_upright(image)))


def _too_many(what: str, max_pixels: int) -> Rejection:
    sentence = f"{what} would need more than the {max_pixels} pixels that curate.decode.max_pixels allows; it was not decoded."
    return Rejection("decode", "too_many_pixels", sentence)


def _truncated() -> Rejection:
    return Rejection("decode", "truncated", "The end of the file is missing; download or copy it again.")


def _broken(content: bytes, error: BaseException) -> Rejection:
    if "truncated" in str(error).lower() or not _is_whole(content):
        return _truncated()
    # Pillow names the in-memory file by its address, which would differ from run to run.
    header = isinstance(error, UnidentifiedImageError)
    detail = "its header makes no sense" if header else " ".join(str(error).split())[:120] or type(error).__name__
    return Rejection("decode", "undecodable", f"The file is damaged and cannot be decoded ({detail}).")


def _is_whole(content: bytes) -> bool:
    """False when the mark that ends a file of this format is missing; decoders do not always mind."""
    form = sniff(content)
    if form == "JPEG":
        return content.find(b"\xff\xd9", _scan_start(content)) >= 0
    if form == "PNG":
        return b"IEND\xaeB`\x82" in content
    if form == "WEBP":
        return int.from_bytes(content[4:8], "little") + 8 <= len(content)
    return True


def _scan_start(content: bytes) -> int:
    """Where a JPEG's pixels begin: after the segments before it, which may hold a thumbnail with an end of its own."""
    at = 2
    while content[at : at + 1] == b"\xff" and content[at + 1 : at + 2] not in (b"\xda", b"\xff", b""):
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except BROKEN:  # damaged EXIF says nothing about the pixels
        return image


def _on_white(image: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white, the ground that drawings are made on."""
    if not image.has_transparency_data:
        return _srgb(image)
    with_alpha = image.convert("RGBA")
    ground = Image.new("RGB", image.size, "white")
    ground.paste(_srgb(with_alpha.convert("RGB")), mask=with_alpha.getchannel("A"))
    return ground


def _srgb(image: Image.Image) -> Image.Image:
    image = _eight_bit(image)
    profile = image.info.get("icc_profile") or b""
    if image.mode == "LAB":
        return _converted(image, ImageCms.createProfile("LAB"))
    if 0 < len(profile) <= MAX_PROFILE_BYTES:
        try:
            return _converted(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        except (ImageCms.PyCMSError, *BROKEN):  # a damaged or unfitting profile is no reason to drop a picture
            return image.convert("RGB")
    return image.convert("RGB")


def _converted(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Palettes to colours; grey with more than 8 bits to its upper 8: Pillow's own conversion would cut it at 255."""
    if image.mode in ("P", "1"):
        return image.convert("RGB")
    if image.mode not in DEEP_MODES:
        return image
    top = image.getextrema()[1]
    steps = 256 if 255 < top < 65536 else max(1.0, top / 255)
    return image.convert("F").point(lambda value: value * (1 / steps) + 0).convert("L")


def _clean(image: Image.Image) -> Image.Image:
    image.info = {}  # or PNG would carry the old profile and transparency along
    return image
