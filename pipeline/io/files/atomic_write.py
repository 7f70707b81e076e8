"""Atomic writes: a crash leaves either the old file or folder or the new one, never a mixture."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.core import stored_json
from pipeline.core.errors import InputError

CARD = "card.json"
# What every reader of a card relies on, by the folder above the species'.
CARD_KEYS: dict[str, stored_json.Keys] = {
    "raw": {"digest": str},
    "curated": {"digest": str},
    "models": {"lineage_id": str, "dataset_digest": str, "snapshots": list},
    "samples": {"lineage_id": str},
}
read_json = stored_json.read


def write_bytes(path: Path, content: bytes) -> None:
    """Write to a temporary file beside it, then rename: readers see the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_card(folder: Path, **content: Any) -> None:
    """Write `card.json`, the last file of an output folder: if it is there, the work is complete."""
    write_json(folder / CARD, content)


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a finished output folder; InputError when the folder is missing or unfinished."""
    return read_json(folder / CARD, CARD_KEYS.get(folder.parent.name, {}))


@contextmanager
def fresh_folder(final: Path) -> Iterator[Path]:
    """A new folder beside `final` that takes its place in one move when the block succeeds."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        for leftover in final.parent.glob(f".building-{final.name}.*"):  # by a run that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        building = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".building-{final.name}."))
    except OSError as error:
        raise InputError(
            f"cannot write to {final.parent}: {error.strerror}; check its permissions and space"
        ) from error
    try:
        building.chmod(0o755)
        yield building
        replace_folder(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def replace_folder(new: Path, final: Path) -> None:
    """Move the finished folder `new` to `final`, dropping what stood there."""
    if final.exists():
        old = Path(tempfile.mkdtemp(dir=final.parent, prefix=".building-old-"))
        os.replace(final, old / final.name)
        os.replace(new, final)
        shutil.rmtree(old)
    else:
        os.replace(new, final)
