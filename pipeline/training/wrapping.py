"""The parts as the forward pass uses them: wrapped when several processes share the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator

from pipeline.families.parts import Parts
from pipeline.training.trainable import Trainable


@dataclass(frozen=True)
class Wrapped:
    """`parts` for the forward pass, and the modules that exchange gradients."""

    parts: Parts
    modules: Mapping[str, torch.nn.Module]

    @contextmanager
    def alone(self, accelerator: Accelerator) -> Iterator[None]:
        """While it is open, the processes keep their gradients to themselves."""
        with ExitStack() as stack:
            for module in self.modules.values():
                stack.enter_context(accelerator.no_sync(module))
            yield


def wrap(trainable: Trainable, accelerator: Accelerator) -> Wrapped:
    """Every module that learns exchanges its gradients with the other processes."""
    parts = trainable.parts
    if accelerator.device.type == "cuda":  # tensor cores want channels side by side; on a CPU it changes nothing
        parts.unet.to(memory_format=torch.channels_last)
    modules = {name: accelerator.prepare_model(module) for name, module in trainable.modules.items()}
    by_id = {id(module): modules[name] for name, module in trainable.modules.items()}
    text_encoders = tuple(by_id.get(id(encoder), encoder) for encoder in parts.text_encoders)
    return Wrapped(replace(parts, unet=by_id.get(id(parts.unet), parts.unet), text_encoders=text_encoders), modules)
