"""Embedding cache: CLIP embeddings by sha256 of the picture's pixels, in half precision, one file per model."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.io.files import atomic_write

DAMAGED = (zipfile.BadZipFile, zlib.error, SyntaxError, NotImplementedError, RuntimeError, TypeError)


def read(path: Path) -> dict[str, np.ndarray]:
    """By sha256: (d,) float16. A missing or damaged file holds none."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            names, rows = stored["sha256"], stored["rows"]
            whole = names.dtype.kind == "U" and rows.dtype == np.float16 and rows.ndim == 2 and len(rows) == len(names)
            return dict(zip(names.tolist(), rows)) if whole and np.isfinite(rows).all() else {}
    except (*DAMAGED, OSError, ValueError, KeyError, EOFError, MemoryError):
        return {}


def write(path: Path, rows: Mapping[str, np.ndarray]) -> None:
    sink, names = io.BytesIO(), sorted(rows)
    table = np.stack([rows[name] for name in names]).astype(np.float16)
    np.savez(sink, sha256=np.array(names, dtype="U64"), rows=table)
    atomic_write.write_bytes(path, sink.getvalue())
