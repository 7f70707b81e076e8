"""What a method hands to the loop, and how weights lie on disk."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from pipeline.families.model_components import ModelComponents

OS_ERROR = re.compile(r": ([^:]+) \(os error (\d+)\)")
Teacher = Callable[[], AbstractContextManager[ModelComponents]]  # while it is open: the base as it was, to be asked


@dataclass(frozen=True)
class Group:
    """Parameters that are optimised alike; `rate_factor` times the learning rate."""

    names: tuple[str, ...]
    rate_factor: float = 1.0
    decays: bool = True  # is weight decay theirs too?


@dataclass(frozen=True)
class Trainable:
    """A model with the modules that are learnt, by the names of their folders (`unet`, `text_encoder` …).

    `parts` has what the method has put into it. Without `groups` all parameters are in one.
    """

    parts: ModelComponents
    modules: Mapping[str, nn.Module]
    groups: tuple[Group, ...] = ()
    teacher: Teacher | None = None

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What learns, by `folder.name`; read anew each time, since sharding puts others in their place."""
        return {
            f"{folder}.{name}": weight
            for folder, module in self.modules.items()
            for name, weight in module.named_parameters()
            if weight.requires_grad
        }

    def optimised(self, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups as torch's optimisers take them; `rate_factor` is the loop's."""
        weights = self.parameters
        return [
            {
                "params": [weights[name] for name in group.names],
                "weight_decay": weight_decay if group.decays else 0.0,
                "rate_factor": group.rate_factor,
            }
            for group in self.groups or (Group(tuple(weights)),)
        ]


def cast(modules: Iterable[nn.Module], dtype: torch.dtype) -> None:
    """Frozen weights may be kept in half precision."""
    for module in modules:
        nn.Module.to(module, dtype)  # diffusers' own `to` warns of modules to be kept, of which these have none


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
