"""Merging adapters into the base's weights, so that a model without adapters draws the same pictures."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.families.model_components import ModelComponents


@torch.no_grad()
def merged(components: ModelComponents) -> ModelComponents:
    """The same components without adapters; their modules change. Exact up to rounding in the weights' own dtype."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in (components.unet, *components.text_encoders):
        adapted = {name: layer for name, layer in module.named_modules() if isinstance(layer, BaseTunerLayer)}
        for name, layer in adapted.items():
            layer.merge()
            _replace(module, name, layer.get_base_layer())
    return components


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, layer)
