"""Weights that lie in pieces on several processes (FSDP 2): cut them, and put them together to be written.

Zhao et al. 2023, "PyTorch FSDP". Only the modules that learn are cut, their frozen weights with them; what a method
leaves alone stays whole on every process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def cut(modules: Mapping[str, nn.Module], device: torch.device, n_processes: int) -> None:
    """Each process keeps its piece of every weight; a block is whole only while it computes.

    Other parameters take the place of the modules' own, so optimisers come afterwards.
    """
    mesh = init_device_mesh(device.type, (n_processes,))
    for module in modules.values():
        module.to(memory_format=torch.contiguous_format)  # pieces are rows, which channels-last weights do not have
        for block in blocks(module):
            fully_shard(block, mesh=mesh)
        fully_shard(module, mesh=mesh)


def blocks(module: nn.Module) -> list[nn.Module]:
    """The innermost of the layers that diffusers and transformers call indivisible."""
    names = set(getattr(module, "_no_split_modules", None) or ())
    found = [part for part in module.modules() if part is not module and type(part).__name__ in names]
    return [part for part in found if not any(type(inner).__name__ in names for inner in list(part.modules())[1:])]


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All pieces of a tensor, on every process; every process must ask. A whole tensor is given back as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What this process has of a tensor: its piece, or all of it where nothing is cut."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def piece(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Of a whole tensor, what this process keeps of it beside `weight`; all of it, where nothing is cut."""
    if not isinstance(weight, DTensor) or tensor.shape != weight.shape:
        return tensor
    return distribute_tensor(tensor.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None)


@contextmanager
def gathered(modules: Mapping[str, nn.Module], keep: bool) -> Iterator[None]:
    """While it is open, `state_dict()` of the modules has whole tensors, in the memory of the CPU, where `keep`.

    Every process must open it, since each has a piece; those without `keep` forget what they helped to gather.
    """
    with ExitStack() as stack:
        for module in modules.values():
            if isinstance(module, FSDPModule):
                together = _together(module, keep)
                stack.callback(module.register_state_dict_post_hook(_with(together)).remove)
        yield


def _together(module: nn.Module, keep: bool) -> dict[str, torch.Tensor]:
    found = {}
    for name, tensor in module.state_dict().items():
        gathered_tensor = whole(tensor)
        if keep:
            found[name] = gathered_tensor.cpu()
    return found


def _with(together: Mapping[str, torch.Tensor]) -> Any:
    def put(_module: nn.Module, state: dict[str, torch.Tensor], prefix: str, _local: Any) -> None:
        state.update({prefix + name: tensor for name, tensor in together.items()})

    return put
