"""What picture files really are: whether they open, their size, mode and pixels; sizes of files in bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError

from pipeline.core.lineage import digest_bytes
from pipeline.io.terminal.progress_bars import track

SLAB = 64  # pictures that a thread takes at a time: small ones open faster than threads take turns
COLUMNS = ("problem", "width_px", "height_px", "mode", "pixels")


def inspect_pictures(folder: Path, file_names: Sequence[str], description: str) -> pd.DataFrame:
    """Open every picture; one row per name, in order: problem (empty: none), size, mode, pixels (sha256)."""
    slabs = [file_names[start : start + SLAB] for start in range(0, len(file_names), SLAB)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        inspected = pool.map(lambda names: [_inspect(folder / name) for name in names], slabs)
        rows = list(track(chain.from_iterable(inspected), description, len(file_names)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def sizes_bytes(folder: Path, below: str) -> dict[str, int]:
    """The files directly in `folder/below` by their paths below `folder`, with their sizes in bytes."""
    if not (folder / below).is_dir():
        return {}
    with os.scandir(folder / below) as entries:
        return {f"{below}/{entry.name}": entry.stat().st_size for entry in entries if entry.is_file()}


def _inspect(path: Path) -> tuple[str, int | None, int | None, str | None, str | None]:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # SyntaxError: a broken PNG
        return _problem(error), None, None, None, None
    pixels = digest_bytes(f"{image.mode} {image.size}".encode() + image.tobytes())
    return "", image.width, image.height, image.mode, pixels


def _problem(error: Exception) -> str:
    """In words of our own: those of Pillow name this machine's folders, and a page must not."""
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    return "the file is no picture" if isinstance(error, UnidentifiedImageError) else "the picture is damaged"
