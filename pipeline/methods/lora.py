"""LoRA (Hu et al. 2021): W + (alpha / rank) B A, where only the small A and B learn.

With `rslora` the factor is alpha / sqrt(rank) (Kalajdzievski 2023); with `dora` the length of every row of W learns
apart from its direction (Liu et al. 2024).

A snapshot is one file, `pytorch_lora_weights.safetensors`, in the names that diffusers knows, text encoders included:

    pipe.load_lora_weights("models/dodo/step-000500")

Its header has each adapter's config: without it alpha would be lost on loading, and the pictures would be others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from pipeline.core.params import Train
from pipeline.core.records import Subject
from pipeline.families import family
from pipeline.families.model_components import ModelComponents
from pipeline.methods import adapters, base_compatibility
from pipeline.methods.adapters import ADAPTER
from pipeline.methods.trainable import Trainable, write_tensors

if TYPE_CHECKING:
    from peft import LoraConfig

SECTIONS, SUPPORTED = ("lora",), ("sd", "sdxl")
FILE = "pytorch_lora_weights.safetensors"
HEADER = "lora_adapter_metadata"  # diffusers reads the adapters' configs from here


def learns_text(train: Train) -> bool:
    """Do text encoders change, so that sentences are encoded at every step?"""
    return train.lora.train_text_encoder


def check(family_name: str, base: Path, train: Train) -> None:
    """ParamsError when targets or rank do not fit the base; nothing is loaded."""
    adapters.check("lora", train.lora, family_name, base)


def attach(parts: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype) -> Trainable:
    """Adapters in the denoiser, and in every text encoder if wanted; ParamsError as `check`."""
    return adapters.attach("lora", train.lora, partial(config, train), parts, seed, frozen_dtype)


def config(train: Train, targets: list[str]) -> LoraConfig:
    """peft's config for the layers `targets` of one module."""
    from peft import LoraConfig

    lora = train.lora
    return LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules=targets, use_rslora=lora.rslora, use_dora=lora.dora
    )


def save(trainable: Trainable, folder: Path, dtype: torch.dtype, stamp: Mapping[str, str]) -> None:
    """One file of adapters; `stamp` goes into its header."""
    write(trainable.modules, folder, dtype, stamp)


def write(modules: Mapping[str, nn.Module], folder: Path, dtype: torch.dtype, stamp: Mapping[str, str]) -> None:
    """The LoRA of some modules, by the names of their folders."""
    tensors, configs = {}, {}
    for name, module in modules.items():
        tensors |= {key: tensor.to(dtype) for key, tensor in named_for_diffusers(name, module).items()}
        configs |= {f"{name}.{key}": value for key, value in adapters.config_of(module).items()}
    write_tensors(folder / FILE, tensors, {HEADER: json.dumps(configs, sort_keys=True), **stamp})


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


def restore(parts: ModelComponents, folder: Path) -> ModelComponents:
    """The base with a snapshot's adapters in it; its modules are changed.

    Raises
    ------
    InputError
        When the file is not there or damaged, or is for another base.
    """
    from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

    base_compatibility.check(folder / FILE, parts)
    state, _, metadata = Loader.lora_state_dict(
        str(folder), weight_name=FILE, use_safetensors=True, local_files_only=True, return_lora_metadata=True
    )
    with base_compatibility.fitting(folder / FILE, parts):
        Loader.load_lora_into_unet(state, None, parts.unet, adapter_name=ADAPTER, metadata=metadata)
        for name, encoder in zip(family(parts.family).TRAINED_TEXT_ENCODERS, parts.text_encoders, strict=True):
            if any(key.startswith(f"{name}.") for key in state):  # else diffusers warns
                Loader.load_lora_into_text_encoder(
                    state, None, encoder, prefix=name, adapter_name=ADAPTER, metadata=metadata
                )
    return parts
