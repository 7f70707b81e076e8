"""Reduced pictures, their thumbnails and their measures under `.work/`, made once for each file and way of making them.

`<sha256>.png`, `<sha256>.webp` and, written last, `<sha256>.json`. A changed threshold finds them all again; what was
damaged since is made anew. No picture stays in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.core.lineage import digest_bytes
from pipeline.io.files import atomic_write
from pipeline.io.images import codecs

THUMB_PX = 256  # longer side
KINDS = ("png", "webp")

Look = Callable[[Image.Image], tuple[Image.Image, dict[str, Any]]]


def keep(picture: codecs.Picture, key: str, folder: Path, look: Look) -> dict[str, Any]:
    """Store what `look` makes of a picture, the reduced one and its measures, and return these.

    Runs in the process that decoded the picture; format, frames and png_sha256 are measures too.
    """
    reduced, measures = look(picture.image)
    measures |= {"format": picture.format, "frames": picture.n_frames}
    contents = {"png": codecs.png(reduced), "webp": codecs.thumbnail(reduced, THUMB_PX)}
    for kind, content in contents.items():
        atomic_write.write_bytes(file_of(folder, key, kind), content)
    digests = {kind: digest_bytes(content) for kind, content in contents.items()}
    measures |= {"png_sha256": digests["png"]}
    atomic_write.write_json(file_of(folder, key, "json"), {"measures": measures, "files": digests})
    return measures


def kept(folder: Path, key: str) -> dict[str, Any] | None:
    """The measures of a picture that is stored whole; None when it must be looked at (again)."""
    try:
        noted = json.loads(file_of(folder, key, "json").read_text(encoding="utf-8"))
        whole = all(digest_bytes(read(folder, key, kind)) == noted["files"][kind] for kind in KINDS)
        return noted["measures"] if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def place(folder: Path, key: str, kind: str, target: Path) -> None:
    """Put a kept file elsewhere without copying it, where the file system can; nothing is ever written into it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file_of(folder, key, kind), target)
    except OSError:
        atomic_write.write_bytes(target, read(folder, key, kind))


def read(folder: Path, key: str, kind: str) -> bytes:
    return file_of(folder, key, kind).read_bytes()


def opened(folder: Path, key: str) -> Image.Image:
    """The reduced picture, RGB."""
    with Image.open(file_of(folder, key, "png")) as image:
        return image.convert("RGB")


def file_of(folder: Path, key: str, kind: str) -> Path:
    return folder / key[:2] / f"{key}.{kind}"
