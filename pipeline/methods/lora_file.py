"""The file of a LoRA, `pytorch_lora_weights.safetensors`, in the names that diffusers reads, text encoders included.

Its header has each adapter's peft config: without it alpha would be lost on loading, and the pictures would be others.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.families.model_components import ModelComponents
from pipeline.methods import adapters, base_compatibility
from pipeline.methods.adapters import ADAPTER, Adapters
from pipeline.methods.params import LoraParams
from pipeline.methods.tensor_files import write_tensors

FILE = "pytorch_lora_weights.safetensors"
HEADER = "lora_adapter_metadata"  # diffusers reads the adapters' configs from here


def config(params: LoraParams, targets: list[str]) -> Any:
    """peft's config for the layers `targets` of one module."""
    from peft import LoraConfig

    return LoraConfig(
        r=params.rank, lora_alpha=params.alpha, target_modules=targets, use_rslora=params.rslora, use_dora=params.dora
    )


def read(folder: Path) -> Adapters:
    """The adapters of a snapshot; InputError when the file is missing or damaged."""
    header, tensors = base_compatibility.read(folder / FILE, tensors=True)
    configs: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in json.loads(header[HEADER]).items():  # {"unet.r": 4, …}
        module, _, key = name.partition(".")
        configs[module][key] = value
    return Adapters(tensors, dict(configs))


def write(modules: Mapping[str, nn.Module], folder: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
    """The LoRA of some modules, by the names of their folders."""
    tensors: dict[str, torch.Tensor] = {}
    configs: dict[str, Any] = {}
    for name, module in modules.items():
        tensors |= {key: tensor.to(dtype) for key, tensor in named_for_diffusers(name, module).items()}
        configs |= {f"{name}.{key}": value for key, value in adapters.config_of(module).items()}
    write_tensors(folder / FILE, tensors, {HEADER: json.dumps(configs, sort_keys=True), **metadata})


def named_for_diffusers(name: str, module: nn.Module) -> dict[str, torch.Tensor]:
    """A module's LoRA, each key with the folder's name before it."""
    from diffusers.utils import convert_state_dict_to_diffusers

    tensors = convert_state_dict_to_diffusers(adapters.tensors_of(module))
    if name == "unet":
        return {f"{name}.{key}": tensor for key, tensor in tensors.items()}
    # transformers 5 flattens CLIP's names; older tools look for the older ones, and diffusers knows both.
    prefix = f"{name}." if hasattr(module, "text_model") else f"{name}.text_model."
    return {prefix + _as_weight(key): tensor for key, tensor in tensors.items()}


def _as_weight(key: str) -> str:
    """transformers' loader, unlike peft's own, passes over DoRA's magnitudes when they are not called a weight."""
    return f"{key}.weight" if key.endswith(".lora_magnitude_vector") else key


def restore(components: ModelComponents, folder: Path) -> ModelComponents:
    """The base with a snapshot's adapters in it; its modules are changed.

    Raises
    ------
    InputError
        When the file is not there or damaged, or is for another base.
    """
    from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

    base_compatibility.check(folder / FILE, components)
    state, _, metadata = Loader.lora_state_dict(
        str(folder), weight_name=FILE, use_safetensors=True, local_files_only=True, return_lora_metadata=True
    )
    with base_compatibility.fitting(folder / FILE, components):
        Loader.load_lora_into_unet(state, None, components.unet, adapter_name=ADAPTER, metadata=metadata)
        for name, encoder in zip(components.family.text_encoders, components.text_encoders, strict=True):
            if any(key.startswith(f"{name}.") for key in state):  # else diffusers warns
                Loader.load_lora_into_text_encoder(
                    state, None, encoder, prefix=name, adapter_name=ADAPTER, metadata=metadata
                )
    return components
