"""Files for other programs: complete or absent, and never in the place of something else."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_file, digest_tree


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A new folder in `folder`, thus on its file system; what is left in it is dropped.

    Raises
    ------
    InputError
        When nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder, prefix=".building-"))
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another --out") from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def settle(made: Path, folder: Path, shown_at: Path) -> list[str]:
    """Move everything in `made` into `folder`, which people know as `shown_at`; a line for each with its size.

    Raises
    ------
    InputError
        When something else has one of the names; then nothing was moved.
    """
    built = sorted(made.iterdir())
    known = {path: _is_there(path, folder / path.name) for path in built}
    for path in built:
        if not known[path]:
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.replace(path, folder / path.name)
    return [
        f"{shown_at / path.name} ({_size(folder / path.name)}{', is there already' * known[path]})" for path in built
    ]


def fill_hash(path: Path, placeholder: str) -> None:
    """In the header of a safetensors file, `0x` and the sha256 of all bytes after it in the place of `placeholder`."""
    with path.open("r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = stream.read(size)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(8)
        stream.write(header.replace(placeholder.encode(), f"0x{digest}".encode()))


def _is_there(path: Path, there: Path) -> bool:
    """Is the same there already? InputError when something else is."""
    if not os.path.lexists(there) or (there.is_dir() and not any(there.iterdir())):
        return False
    if path.is_dir() == there.is_dir() and _digest(path) == _digest(there):
        return True
    raise InputError(f"{there} is there already and is something else; delete it or choose another --out")


def _digest(path: Path) -> str:
    return digest_tree(path) if path.is_dir() else digest_file(path)


def _size(path: Path) -> str:
    size = sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
