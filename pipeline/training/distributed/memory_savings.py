"""Memory savings and speed for the same steps: gradient checkpointing and torch.compile."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from torch import nn

from pipeline.core.errors import ParamsError
from pipeline.core.training_params import Train
from pipeline.methods.trainable import Trainable
from pipeline.training.distributed import fsdp

COMPILERS = ("c++", "g++", "clang++", "cc", "gcc", "clang")


def apply(trainable: Trainable, train: Train, *, sharded: bool = False, backend: str = "inductor") -> None:
    """Change the modules in place as params say; no weight gets another name.

    Raises
    ------
    ParamsError
        When `train.compile` is on and this machine has no compiler for it.
    """
    if train.gradient_checkpointing:
        enable_gradient_checkpointing(trainable)
    if train.compile:
        if backend == "inductor" and not any(map(shutil.which, COMPILERS)):
            raise ParamsError(
                "train.compile is true, but this machine has no C++ compiler for it; install g++ or set "
                "train.compile to false"
            )
        # A sharded block is gathered before it computes, which cannot be compiled: the blocks are, one by one.
        for module in fsdp.blocks(trainable.components.unet) if sharded else [trainable.components.unet]:
            module.compile(backend=backend)


def enable_gradient_checkpointing(trainable: Trainable) -> None:
    """Keep the inputs of blocks only and compute the rest again in the backward pass (Chen et al. 2016)."""
    unet: Any = trainable.components.unet
    unet.enable_gradient_checkpointing()  # although it may be frozen: gradients pass through it
    trained: Mapping[str, Any] = trainable.modules
    for name, module in trained.items():
        if name != "unet":
            module.activation_checkpointing_enable({"use_reentrant": False})
            _set_training_mode(module)


def _set_training_mode(module: nn.Module) -> None:
    """transformers checkpoints only layers in training mode; what is inside them, dropout too, stays as it is."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    for layer in module.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.training = True
