"""Streaming safetensors writer: tensor by tensor, so that it needs the memory of one of them and not of all.

The format: eight bytes with the size of the header, the header as JSON, the bytes of the tensors end to end.
https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

import torch

from pipeline.training.distributed.fsdp import full_tensor

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """Write the file at `path`; returns its sha256. Shards of weights (FSDP) are gathered: see `join_gathering`.

    Raises
    ------
    OSError
        When the disk is full; a partial file is left.
    """
    sha256, contents = hashlib.sha256(), _contents(tensors, metadata)
    try:
        with path.open("wb") as stream:
            for content in contents:
                stream.write(content)
                sha256.update(content)
    except OSError:
        for _ in contents:  # the other processes wait until every shard is gathered
            pass
        raise
    return sha256.hexdigest()


def join_gathering(tensors: Mapping[str, torch.Tensor]) -> None:
    """Called by the processes that do not write: each contributes its shard of every tensor."""
    for tensor in tensors.values():
        full_tensor(tensor)


def _contents(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    header = _header(tensors, metadata)
    yield len(header).to_bytes(8, "little")
    yield header
    for tensor in tensors.values():
        plain = full_tensor(tensor.detach()).cpu().contiguous()
        yield plain.reshape(-1).view(torch.uint8).numpy().data


def _header(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, dict[str, object]] = {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + prod(tensor.shape) * tensor.element_size()
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps({"__metadata__": dict(metadata), **entries}, separators=(",", ":")).encode()
    return text.ljust(-(-len(text) // 8) * 8)  # the tensors begin at a multiple of eight bytes
