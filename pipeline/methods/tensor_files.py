"""safetensors files on disk: written atomically, the same tensors as the same bytes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

OS_ERROR = re.compile(r": ([^:]+) \(os error (\d+)\)")


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """A safetensors file, complete or absent: written to the side, then renamed.

    Raises
    ------
    OSError
        When the disk is full, or the folder must not be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps processes apart that fill the same cache.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # safetensors refuses strided (channels-last) and shared memory.
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        _save(plain, partial, {"format": "pt", **metadata})
        _sort_metadata(partial)
        partial.chmod(0o644)  # safetensors writes for the owner alone, and other users and servers read models too
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _save(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """safetensors' error is no OSError, and has the operating system's number in its words only."""
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        if not (refused := OS_ERROR.search(str(error))):
            raise
        raise OSError(int(refused[2]), f"safetensors: {refused[1]}", str(path)) from error


def _sort_metadata(path: Path) -> None:
    """safetensors writes metadata in an order that differs from call to call; the same weights are the same bytes."""
    with path.open("r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > size:  # the data begins after `size` bytes, so the header must not grow
            raise ValueError(f"the header of {path.name} cannot be put in order: {len(text)} of {size} bytes")
        stream.seek(8)
        stream.write(text.ljust(size))
