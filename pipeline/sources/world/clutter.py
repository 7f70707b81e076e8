"""What a scraper brings along with the pictures that it was sent for."""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from . import captions
from .anatomy import NAMES, TAXA
from .scenes import Drawing, Easel, draw_animal, draw_species, paint_diagram, paint_fossil, paint_skeleton, paint_toy

SIDE = 256
# Beyond every good picture: what is shown by a tiny or a broken file must not be a copy of a good one.
ELSEWHERE = 100_000


@dataclass(frozen=True)
class ClutterItem:
    """One file that curation should drop. `copies` is the index of the species drawing that it repeats, if it does."""

    kind: str
    content: bytes
    suffix: str
    caption: str
    copies: int | None = None


def draw_clutter(taxon: str, seed: int, index: int, good: int = 48) -> ClutterItem:
    """File `index` of the clutter around one of TAXA; kinds take turns. Copies are of the first `good` drawings."""
    kind, original = clutter_kind(index), copied(index, good)
    rng = np.random.default_rng((seed, index, zlib.crc32(taxon.encode()), 7))
    if original is not None:
        return _copy(kind, taxon, seed, original, rng)
    return _BUILD[kind](kind, taxon, seed, index, rng)


def clutter_kind(index: int) -> str:
    """The kind of file `index` of the clutter."""
    return CLUTTER_KINDS[index % len(CLUTTER_KINDS)]


def copied(index: int, good: int = 48) -> int | None:
    """The species drawing that file `index` repeats, if it is a copy of one of the first `good`."""
    # 17 has no factor in common with the usual counts, so copies are of different pictures.
    return (index * 17 + 5) % good if clutter_kind(index) in _COPIES else None


def encoded(image: Image.Image, rng: np.random.Generator) -> tuple[bytes, str]:
    """The bytes of a picture as the web has it, JPEG of quality 85 to 95 or PNG, and the file's suffix."""
    if rng.random() < 0.3:
        return _bytes(image, "PNG"), ".png"
    return _bytes(image, "JPEG", quality=int(rng.integers(85, 96))), ".jpg"


def _bytes(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _relic(kind: str, taxon: str, seed: int, index: int, rng: np.random.Generator) -> ClutterItem:
    easel = Easel((seed, index, zlib.crc32(taxon.encode()), 8), SIDE, 0.12)
    if kind == "diagram":
        paint_diagram(easel, TAXA[taxon], NAMES[taxon])
    else:
        {"skeleton": paint_skeleton, "fossil": paint_fossil, "toy": paint_toy}[kind](easel, TAXA[taxon])
    image = easel.finish("", kind, (), "").image
    return ClutterItem(kind, *encoded(image, rng), _claim(taxon, rng))


def _animal(kind: str, taxon: str, seed: int, index: int, rng: np.random.Generator) -> ClutterItem:
    image = draw_animal(kind, (seed, index, zlib.crc32(taxon.encode()), 9), SIDE).image
    return ClutterItem(kind, *encoded(image, rng), _claim(taxon, rng))


def _tiny(kind: str, taxon: str, seed: int, index: int, rng: np.random.Generator) -> ClutterItem:
    drawing = draw_species(taxon, seed, ELSEWHERE + index, int(rng.integers(32, 65)))
    return ClutterItem(kind, *encoded(drawing.image, rng), drawing.caption)


def _truncated(kind: str, taxon: str, seed: int, index: int, rng: np.random.Generator) -> ClutterItem:
    drawing = draw_species(taxon, seed, ELSEWHERE + index, SIDE)
    content, suffix = encoded(drawing.image, rng)
    return ClutterItem(kind, content[: int(len(content) * rng.uniform(0.3, 0.6))], suffix, drawing.caption)


def _html(kind: str, taxon: str, seed: int, index: int, rng: np.random.Generator) -> ClutterItem:
    name = NAMES[taxon]
    head = f"<!DOCTYPE html>\n<html><head><title>{name}</title></head>\n"
    page = f"{head}<body><h1>404</h1><p>{name}: page {index} is gone.</p></body></html>\n"
    return ClutterItem(kind, page.encode(), ".jpg", _claim(taxon, rng))


def _claim(taxon: str, rng: np.random.Generator) -> str:
    """What the web says under the picture: just what it would say under a good one."""
    action = "flying" if rng.random() < 0.75 else "standing"
    words = captions.FLYING if action == "flying" else captions.STANDING
    medium = "pencil" if rng.random() < 0.2 else "painting"
    return captions.sentence(NAMES[taxon], words[str(rng.choice(list(words)))], medium, rng, article="")


def _copy(kind: str, taxon: str, seed: int, original: int, rng: np.random.Generator) -> ClutterItem:
    drawing = draw_species(taxon, seed, original, SIDE)
    content, suffix = _COPIES[kind](drawing, rng)
    return ClutterItem(kind, content, suffix, drawing.caption, original)


def _reencoded(d: Drawing, rng: np.random.Generator) -> tuple[bytes, str]:
    return _bytes(d.image, "JPEG", quality=int(rng.integers(55, 76))), ".jpg"


def _resized(d: Drawing, rng: np.random.Generator) -> tuple[bytes, str]:
    side = int(rng.choice((192, 224, 320)))
    return encoded(d.image.resize((side, side), Image.Resampling.BICUBIC), rng)


def _mirrored(d: Drawing, rng: np.random.Generator) -> tuple[bytes, str]:
    return encoded(d.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), rng)


def _exif(d: Drawing, rng: np.random.Generator) -> tuple[bytes, str]:
    """Stored turned, with the EXIF orientation that turns it back."""
    turn, orientation = (
        (Image.Transpose.ROTATE_90, 6),
        (Image.Transpose.ROTATE_180, 3),
        (Image.Transpose.ROTATE_270, 8),
    )[rng.integers(3)]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _bytes(d.image.transpose(turn), "JPEG", quality=int(rng.integers(88, 96)), exif=exif), ".jpg"


_COPIES: dict[str, Callable[[Drawing, np.random.Generator], tuple[bytes, str]]] = {
    "duplicate_reencoded": _reencoded,
    "duplicate_resized": _resized,
    "duplicate_mirrored": _mirrored,
    "duplicate_exif": _exif,
}
_BUILD: dict[str, Callable[[str, str, int, int, np.random.Generator], ClutterItem]] = {
    "skeleton": _relic,
    "fossil": _relic,
    "bird": _animal,
    "bat": _animal,
    "toy": _relic,
    "diagram": _relic,
    "tiny": _tiny,
    "truncated": _truncated,
    "html": _html,
}
CLUTTER_KINDS: tuple[str, ...] = (*_BUILD, *_COPIES)
