"""Digests: which bytes, params and code a result came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def digest_bytes(content: bytes) -> str:
    """sha256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def digest_json(value: Any) -> str:
    """sha256 of the canonical JSON of `value` (pydantic objects and paths allowed)."""
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain).encode())


def digest_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_tree(folder: Path, patterns: Iterable[str] = ("*",)) -> str:
    """sha256 over the relative names and contents of all files under `folder` that match."""
    paths = sorted({p for pattern in patterns for p in folder.rglob(pattern) if p.is_file()})
    return digest_json([(p.relative_to(folder).as_posix(), digest_file(p)) for p in paths])


def lineage_id(*, dataset: str, base: str, params: Any, code: str) -> str:
    """The identity of a training: same id, same weights (on the same hardware).

    Arguments are the dataset's digest, the base model's weight digest, the resolved params of the
    species and of training, and the digest of the training code.
    """
    return digest_json({"dataset": dataset, "base": base, "params": params, "code": code})[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"no canonical JSON for {type(value).__name__}")
