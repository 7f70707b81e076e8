"""FSDP2 sharding and gathering: weights that are sharded over several processes, and gathered to be written.

Zhao et al. 2023, "PyTorch FSDP". Only the modules that are trained are sharded, with the frozen weights in them; other
modules stay complete on every process.
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


def shard(modules: Mapping[str, nn.Module], device: torch.device, n_processes: int) -> None:
    """Each process keeps its shard of every weight; a block is gathered only while it computes.

    New parameters take the place of the modules' own, so optimisers are made afterwards.
    """
    mesh = init_device_mesh(device.type, (n_processes,))
    for module in modules.values():
        # Shards are rows, which channels-last weights do not have.
        module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for block in blocks(module):
            fully_shard(block, mesh=mesh)
        fully_shard(module, mesh=mesh)


def blocks(module: nn.Module) -> list[nn.Module]:
    """The innermost of the layers that diffusers and transformers call indivisible."""
    names = set(getattr(module, "_no_split_modules", None) or ())
    found = [part for part in module.modules() if part is not module and type(part).__name__ in names]
    return [part for part in found if not any(type(inner).__name__ in names for inner in list(part.modules())[1:])]


def full_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """All shards of a tensor, on every process; every process must call it. Other tensors are returned as they are."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local_shard(tensor: torch.Tensor) -> torch.Tensor:
    """This process's shard of a tensor; all of it where nothing is sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """This process's shard of a full tensor, sharded as `weight`; all of it where nothing is sharded."""
    if not isinstance(weight, DTensor) or tensor.shape != weight.shape:
        return tensor
    return distribute_tensor(tensor.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None)


@contextmanager
def full_state_dicts(modules: Mapping[str, nn.Module], keep: bool) -> Iterator[None]:
    """While it is open, `state_dict()` of the modules has full tensors, in the memory of the CPU, where `keep`.

    Every process must open it, since each has a shard; those without `keep` drop what they helped to gather.
    """
    with ExitStack() as stack:
        for module in modules.values():
            if isinstance(module, FSDPModule):
                full = _full_state_dict(module, keep)
                stack.callback(module.register_state_dict_post_hook(_replace_with(full)).remove)
        yield


def _full_state_dict(module: nn.Module, keep: bool) -> dict[str, torch.Tensor]:
    found = {}
    for name, tensor in module.state_dict().items():
        gathered = full_tensor(tensor)
        if keep:
            found[name] = gathered.cpu()
    return found


def _replace_with(full: Mapping[str, torch.Tensor]) -> Any:
    def hook(_module: nn.Module, state: dict[str, torch.Tensor], prefix: str, _local: Any) -> None:
        state.update({prefix + name: tensor for name, tensor in full.items()})

    return hook
