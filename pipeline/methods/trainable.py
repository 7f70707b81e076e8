"""What a fine-tuning method hands to the training loop: the trained modules, in groups for the optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pipeline.families.model_components import ModelComponents

Teacher = Callable[[], AbstractContextManager[ModelComponents]]  # gives the base model as it was before training


@dataclass(frozen=True)
class Group:
    """Parameters with the same optimiser settings."""

    names: tuple[str, ...]
    lr_factor: float = 1.0  # times the learning rate
    weight_decay: bool = True


@dataclass(frozen=True)
class Trainable:
    """A model with its trained modules, by the names of their folders (`unet`, `text_encoder` …).

    `components` includes what the method has put into it. Without `groups` all parameters are in one.
    """

    components: ModelComponents
    modules: Mapping[str, nn.Module]
    groups: tuple[Group, ...] = ()
    teacher: Teacher | None = None

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The trained parameters, by `folder.name`; computed anew each time, since FSDP replaces them."""
        return {
            f"{folder}.{name}": weight
            for folder, module in self.modules.items()
            for name, weight in module.named_parameters()
            if weight.requires_grad
        }

    def optimiser_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups as torch's optimisers take them; the loop multiplies the learning rate by `lr_factor`."""
        weights = self.parameters
        return [
            {
                "params": [weights[name] for name in group.names],
                "weight_decay": weight_decay if group.weight_decay else 0.0,
                "lr_factor": group.lr_factor,
            }
            for group in self.groups or (Group(tuple(weights)),)
        ]


def cast(modules: Iterable[nn.Module], dtype: torch.dtype) -> None:
    """Frozen weights may be kept in half precision."""
    for module in modules:
        nn.Module.to(module, dtype)  # diffusers' own `to` warns of modules to be kept, of which these have none
