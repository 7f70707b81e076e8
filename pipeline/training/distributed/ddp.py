"""DDP wrapping: the components as the forward pass uses them, wrapped or sharded where processes share the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator

from pipeline.families.model_components import ModelComponents
from pipeline.methods.trainable import Trainable
from pipeline.training.distributed import fsdp


@dataclass(frozen=True)
class Wrapped:
    """`components` for the forward pass; `modules` exchange gradients; `sharded`: each process has a shard of them."""

    components: ModelComponents
    modules: Mapping[str, torch.nn.Module]
    sharded: bool = False

    @contextmanager
    def no_sync(self, accelerator: Accelerator) -> Iterator[None]:
        """While it is open, the processes do not exchange gradients."""
        with ExitStack() as stack:
            for module in self.modules.values():
                stack.enter_context(_without_gradient_sync(module) if self.sharded else accelerator.no_sync(module))
            yield

    def full_state_dicts(self, accelerator: Accelerator) -> AbstractContextManager[None]:
        """While it is open, the main process can write the modules' `state_dict()`; all processes must open it."""
        return fsdp.full_state_dicts(self.modules, keep=accelerator.is_main_process)


def wrap(trainable: Trainable, accelerator: Accelerator, *, sharded: bool = False) -> Wrapped:
    """Every trained module exchanges its gradients with the other processes, `sharded` (FSDP) its weights too."""
    components = trainable.components
    if sharded and accelerator.num_processes > 1:
        fsdp.shard(trainable.modules, accelerator.device, accelerator.num_processes)
        return Wrapped(components, trainable.modules, sharded=True)
    if accelerator.device.type == "cuda":  # tensor cores want channels side by side; on a CPU it changes nothing
        components.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    modules = {name: accelerator.prepare_model(module) for name, module in trainable.modules.items()}
    by_id = {id(module): modules[name] for name, module in trainable.modules.items()}
    text_encoders = tuple(by_id.get(id(encoder), encoder) for encoder in components.text_encoders)
    return Wrapped(
        replace(components, unet=by_id.get(id(components.unet), components.unet), text_encoders=text_encoders), modules
    )


@contextmanager
def _without_gradient_sync(module: Any) -> Iterator[None]:
    """`module` is an FSDPModule."""
    module.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        module.set_requires_gradient_sync(True)
