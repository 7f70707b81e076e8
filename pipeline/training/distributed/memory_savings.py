"""Less memory or more speed for the same steps: gradient checkpointing and torch.compile."""

from __future__ import annotations

import shutil

from torch import nn

from pipeline.core.errors import ParamsError
from pipeline.core.training_params import Train
from pipeline.methods.trainable import Trainable
from pipeline.training.distributed import fsdp

COMPILERS = ("c++", "g++", "clang++", "cc", "gcc", "clang")


def apply(trainable: Trainable, train: Train, *, sharded: bool = False, backend: str = "inductor") -> None:
    """Do to the modules, in place, what params ask for; no name of a weight changes.

    Raises
    ------
    ParamsError
        When `train.compile` is wanted, and this machine has no compiler for it.
    """
    if train.gradient_checkpointing:
        checkpoint(trainable)
    if train.compile:
        if backend == "inductor" and not any(map(shutil.which, COMPILERS)):
            raise ParamsError(
                "train.compile is true, but this machine has no C++ compiler for it; install g++ or set "
                "train.compile to false"
            )
        # Where weights are cut, a block is put together before it computes: that lies between what can be compiled.
        for module in fsdp.blocks(trainable.components.unet) if sharded else [trainable.components.unet]:
            module.compile(backend=backend)


def checkpoint(trainable: Trainable) -> None:
    """Keep the inputs of blocks only and compute the rest again in the backward pass (Chen et al. 2016)."""
    trainable.components.unet.enable_gradient_checkpointing()  # although it may be frozen: gradients pass through it
    for name, module in trainable.modules.items():
        if name != "unet":
            module.activation_checkpointing_enable({"use_reentrant": False})
            _in_training_mode(module)


def _in_training_mode(module: nn.Module) -> None:
    """transformers keeps inputs only of layers in training mode; what is inside them, dropout too, stays as it is."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    for layer in module.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.training = True
