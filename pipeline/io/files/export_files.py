"""Exported files: complete or absent, and never written over something else; a card that is there is left alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_file, digest_json

CARD = README, CREDITS, PICTURES = "README.md", "CREDITS.csv", "images"  # of an export, for people


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A temporary folder in `folder`, thus on the same file system; deleted at the end with what was not moved out.

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
    """Move everything in `made` into `folder`, which messages call `shown_at`; returns a line for each with its size.

    Raises
    ------
    InputError
        When one of the names is taken by other content; then nothing was moved.
    """
    built = sorted(made.iterdir())
    present = {path: _is_there(path, folder / path.name) for path in built}
    for path in built:
        if not present[path]:
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.replace(path, folder / path.name)
    return [
        f"{shown_at / path.name} ({_size(folder / path.name)}{', is there already' * present[path]})" for path in built
    ]


def settle_card(made: Path, folder: Path, shown_at: Path) -> str:
    """Move a card made in `made` into the folder of its export, unless there is one; the line that is printed.

    People edit cards, and a later evaluation changes them: one that is there stays, whatever it says.
    """
    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    same = all((folder / file).is_file() and digest_file(folder / file) == digest_file(made / file) for file in files)
    shown = f"{shown_at / README} (the model card"
    if same:
        return f"{shown}, is there already)"
    if (folder / README).exists():
        return f"{shown}, is there already with other content and stays; delete it for a new one)"
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(made / file, folder / file)
    return f"{shown})"


def fill_hash(path: Path, placeholder: str) -> None:
    """Replace `placeholder` in the header of a safetensors file by `0x` and the sha256 of all that follows it."""
    with path.open("r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = stream.read(size)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(8)
        stream.write(header.replace(placeholder.encode(), f"0x{digest}".encode()))


def _is_there(path: Path, there: Path) -> bool:
    """Whether the same content is there already; InputError when other content is."""
    if not os.path.lexists(there) or (there.is_dir() and not any(there.iterdir())):
        return False
    if path.is_dir() == there.is_dir() and _digest_without_card(path) == _digest_without_card(there):
        return True
    raise InputError(f"{there} is there already and is something else; delete it or choose another --out")


def _digest_without_card(path: Path) -> str:
    if path.is_file():
        return digest_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    own = [(file.relative_to(path), file) for file in files if file.relative_to(path).parts[0] not in CARD]
    return digest_json([(name.as_posix(), digest_file(file)) for name, file in own])


def _size(path: Path) -> str:
    size = sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
