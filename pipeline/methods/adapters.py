"""Adapters by peft: small trainable weights beside frozen layers.

Only these weights are trained, so a snapshot holds only them, and the model is the base as soon as they are disabled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pipeline.core.errors import ParamsError
from pipeline.diffusion import noise
from pipeline.families.family import Family
from pipeline.families.model_components import ModelComponents
from pipeline.methods.params import AdapterParams
from pipeline.methods.trainable import Trainable, cast

if TYPE_CHECKING:
    from peft import PeftConfig

ADAPTER = "default"  # diffusers collects the metadata of no other name


@dataclass(frozen=True)
class Adapters:
    """The adapters of a snapshot: tensors by `module.layer.matrix`, and the peft config of each module."""

    tensors: Mapping[str, torch.Tensor]
    configs: Mapping[str, Mapping[str, Any]]


def check(section: str, params: AdapterParams, family: Family, base: Path) -> None:
    """ParamsError, as `check_layers`, when targets or rank do not fit the base; reads its configs only."""
    names = ("unet", *(family.text_encoders if params.train_text_encoder else ()))
    check_layers(section, params, {name: family.empty(base, name) for name in names})


def attach(
    section: str,
    params: AdapterParams,
    config: Callable[[Any, list[str]], PeftConfig],
    components: ModelComponents,
    seed: int,
    frozen_dtype: torch.dtype,
) -> Trainable:
    """Inject adapters; the frozen weights may be in half precision, the adapters never.

    `config(params, targets)` is peft's for one module. The first values are a function of `seed` and `section`.

    Raises
    ------
    ParamsError
        As `check_layers` does.
    """
    modules = modules_to_train(components, with_text=params.train_text_encoder)
    check_layers(section, params, modules)
    cast((components.unet, *components.text_encoders), frozen_dtype)
    # peft draws from the global random state, which is restored afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise.generator(seed, section).initial_seed())
        for name, module in modules.items():
            inject(module, config(params, list(targets_of(params, name))))
    trainable = Trainable(components, modules, teacher=partial(disabled, components, modules))
    for weight in trainable.parameters.values():
        weight.data = weight.data.float()
    return trainable


def modules_to_train(components: ModelComponents, *, with_text: bool) -> dict[str, nn.Module]:
    """The UNet, and every text encoder if wanted, by the names of their folders."""
    return components.by_folder if with_text else {"unet": components.unet}


def inject(module: nn.Module, config: PeftConfig) -> None:
    """Adapters for one module; in evaluation mode, or peft's dropout would use the global random state."""
    model: Any = module
    model.add_adapter(config, adapter_name=ADAPTER)
    config.base_model_name_or_path = None  # transformers writes the path of this machine
    module.eval()


@contextmanager
def disabled(components: ModelComponents, modules: Mapping[str, nn.Module]) -> Iterator[ModelComponents]:
    """While it is open, the components compute what the base does: the adapters are there, but disabled."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for module in modules.values() for layer in module.modules() if isinstance(layer, BaseTunerLayer)]
    try:
        for layer in layers:
            # peft's `enable_adapters` also sets `requires_grad`, on which DDP relies.
            layer._disable_adapters = True
        yield components
    finally:
        for layer in layers:
            layer._disable_adapters = False


def tensors_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """A module's adapters in peft's names, without the adapter's own."""
    from peft.utils import get_peft_model_state_dict

    tensors: dict[str, torch.Tensor] = get_peft_model_state_dict(
        module, state_dict=module.state_dict(), adapter_name=ADAPTER
    )
    return tensors


def config_of(module: nn.Module) -> dict[str, Any]:
    """A module's adapter config as JSON has it; the same adapter gives the same text."""
    model: Any = module
    config: dict[str, Any] = json.loads(
        json.dumps(model.peft_config[ADAPTER].to_dict(), sort_keys=True, default=_plain)
    )
    return config


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, set) else getattr(value, "value", str(value))


def targets_of(params: AdapterParams, name: str) -> tuple[str, ...]:
    """The targets of the module in the folder `name`."""
    return params.targets if name == "unet" else params.text_targets


def check_layers(section: str, params: AdapterParams, modules: Mapping[str, nn.Module]) -> None:
    """ParamsError when a target names no layer, or the rank is larger than a layer that it names."""
    chosen: dict[str, Any] = {}
    for folder, module in modules.items():
        param = f"train.{section}.{'targets' if folder == 'unet' else 'text_targets'}"
        for target in targets_of(params, folder):
            chosen |= {f"{folder}.{name}": layer for name, layer in _matched(module, target, param).items()}
    _check_rank(section, params.rank, chosen)


def _matched(module: nn.Module, target: str, param: str) -> dict[str, nn.Module]:
    """The layers that peft finds for a target: of this name, or with names that end so."""
    known = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    found = {name for name, _ in module.named_modules() if name == target or name.endswith(f".{target}")}
    if not found & known.keys():
        raise ParamsError(f"{param} has {target!r}, which matches no layer; there are {_name_endings(known)}")
    if others := sorted(found - known.keys()):
        raise ParamsError(
            f"{param} has {target!r}, which also matches {others[0]}, a part of many layers; write more of the name"
        )
    return {name: known[name] for name in known if name in found}


def _name_endings(names: Iterable[str]) -> str:
    """The last words of layer names, with the number where the last is one (`to_out.0`)."""
    endings = {
        ".".join(name.split(".")[-2:]) if name.split(".")[-1].isdigit() else name.split(".")[-1] for name in names
    }
    return ", ".join(sorted(endings))


def _check_rank(section: str, rank: int, layers: Mapping[str, Any]) -> None:
    """No change of a layer has a larger rank than the shorter side of its weights.

    The same for all three. LoRA's product reaches it at this rank. The two factors of LoHa are themselves of the
    layer's size; at smaller ranks they reach some changes of full rank, but not all. LoKr's second factor is a part of
    the layer's size, which peft keeps whole from some rank on: that is allowed, and beyond it the rank only
    divides alpha.
    """
    sizes = {name: (layer.weight.shape[0], layer.weight[0].numel()) for name, layer in layers.items()}
    name = min(sizes, key=lambda each: min(sizes[each]))
    if rank > (largest := min(sizes[name])):
        outputs, inputs = sizes[name]
        raise ParamsError(
            f"train.{section}.rank is {rank}, but the smallest layer of its targets, {name}, is {outputs} x {inputs}; "
            f"take at most {largest}"
        )
