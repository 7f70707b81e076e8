"""Image cache: reduced pictures, their thumbnails and their measures under `.work/`, made once per file and settings.

`<sha256>.png`, `<sha256>.webp` and, written last, `<sha256>.json`. A changed threshold finds them all again; what was
damaged since is made anew. No picture stays in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from pipeline.core import strict_json
from pipeline.core.lineage import digest_bytes
from pipeline.io.files import atomic_write
from pipeline.io.images import codecs

THUMB_PX = 256  # longer side
Kind = Literal["png", "webp"]
KINDS: tuple[Kind, ...] = ("png", "webp")
Measures = dict[str, Any]  # by name, as JSON has them

Measure = Callable[[Image.Image], tuple[Image.Image, Measures]]  # -> the reduced picture and its measures


def store(decoded: codecs.DecodedImage, key: str, folder: Path, measure: Measure) -> Measures:
    """Store what `measure` returns for a picture, the reduced one and its measures, and return these.

    Runs in the process that decoded the picture; format, frames and png_sha256 are measures too.
    """
    reduced, measures = measure(decoded.image)
    contents = {"png": codecs.png(reduced), "webp": codecs.thumbnail(reduced, THUMB_PX)}
    digests = {kind: digest_bytes(content) for kind, content in contents.items()}
    measures |= {"format": decoded.format, "frames": decoded.n_frames, "png_sha256": digests["png"]}
    for kind in KINDS:
        atomic_write.write_bytes(path_of(folder, key, kind), contents[kind])
    atomic_write.write_json(path_of(folder, key, "json"), {"measures": measures, "files": digests})
    return measures


def measures_of(folder: Path, key: str) -> Measures | None:
    """The measures of a picture whose files are stored and undamaged; None when it must be decoded (again)."""
    try:
        entry = strict_json.parse(path_of(folder, key, "json").read_bytes())
        intact = all(digest_bytes(read(folder, key, kind)) == entry["files"][kind] for kind in KINDS)
        return entry["measures"] if intact else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def link(folder: Path, key: str, kind: Kind, target: Path) -> None:
    """Put a stored file at `target` without copying it, where the file system can; it must not be written into."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path_of(folder, key, kind), target)
    except OSError:
        atomic_write.write_bytes(target, read(folder, key, kind))


def read(folder: Path, key: str, kind: Kind) -> bytes:
    """A stored file."""
    return path_of(folder, key, kind).read_bytes()


def open_image(folder: Path, key: str) -> Image.Image:
    """The reduced picture, RGB."""
    with Image.open(path_of(folder, key, "png")) as image:
        return image.convert("RGB")


def path_of(folder: Path, key: str, kind: Kind | Literal["json"]) -> Path:
    """Where a file of a picture is stored."""
    return folder / key[:2] / f"{key}.{kind}"
