"""The components as the forward pass uses them: wrapped or cut when several processes share the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator

from pipeline.families.model_components import ModelComponents
from pipeline.methods.trainable import Trainable
from pipeline.training.distributed import fsdp


@dataclass(frozen=True)
class Wrapped:
    """`components` for the forward pass, the modules that exchange gradients; `cut`: a process has a shard of each."""

    components: ModelComponents
    modules: Mapping[str, torch.nn.Module]
    cut: bool = False

    @contextmanager
    def alone(self, accelerator: Accelerator) -> Iterator[None]:
        """While it is open, the processes keep their gradients to themselves."""
        with ExitStack() as stack:
            for module in self.modules.values():
                stack.enter_context(_unsynchronised(module) if self.cut else accelerator.no_sync(module))
            yield

    def whole(self, accelerator: Accelerator) -> AbstractContextManager[None]:
        """While it is open, the modules' `state_dict()` can be written by the main process; all must open it."""
        return fsdp.gathered(self.modules, keep=accelerator.is_main_process)


def wrap(trainable: Trainable, accelerator: Accelerator, *, sharded: bool = False) -> Wrapped:
    """Every module that learns exchanges its gradients with the other processes, `sharded` (FSDP) its weights too."""
    components = trainable.components
    if sharded and accelerator.num_processes > 1:
        fsdp.cut(trainable.modules, accelerator.device, accelerator.num_processes)
        return Wrapped(components, trainable.modules, cut=True)
    if accelerator.device.type == "cuda":  # tensor cores want channels side by side; on a CPU it changes nothing
        components.unet.to(memory_format=torch.channels_last)
    modules = {name: accelerator.prepare_model(module) for name, module in trainable.modules.items()}
    by_id = {id(module): modules[name] for name, module in trainable.modules.items()}
    text_encoders = tuple(by_id.get(id(encoder), encoder) for encoder in components.text_encoders)
    return Wrapped(
        replace(components, unet=by_id.get(id(components.unet), components.unet), text_encoders=text_encoders), modules
    )


@contextmanager
def _unsynchronised(module: torch.nn.Module) -> Iterator[None]:
    module.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        module.set_requires_gradient_sync(True)
