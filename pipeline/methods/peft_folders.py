"""Adapters on disk as peft itself writes them: for each module a folder with its config and its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from pipeline.families import family
from pipeline.families.model_components import ModelComponents
from pipeline.methods import adapters, base_compatibility
from pipeline.methods.trainable import Trainable, write_tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # peft's, before every name in a file


def save(trainable: Trainable, folder: Path, dtype: torch.dtype, stamp: Mapping[str, str]) -> None:
    """`unet/`, and the text encoders' folders if they learnt; `stamp` goes into each file's header."""
    for name, module in trainable.modules.items():
        tensors = {PREFIX + key: tensor.to(dtype) for key, tensor in adapters.tensors_of(module).items()}
        write_tensors(folder / name / WEIGHTS, tensors, stamp)
        config = {**adapters.config_of(module), "inference_mode": True}  # as peft writes it
        text = json.dumps(config, indent=2, sort_keys=True)
        (folder / name / CONFIG).write_text(text + "\n", encoding="utf-8")


def restore(parts: ModelComponents, folder: Path) -> ModelComponents:
    """The base with a snapshot's adapters in it; its modules are changed.

    Raises
    ------
    InputError
        When the UNet's file is not there or damaged, or a file is for another base.
    """
    from peft import PeftModel

    encoders = zip(family(parts.family).TRAINED_TEXT_ENCODERS, parts.text_encoders, strict=True)
    for name, module in {"unet": parts.unet, **dict(encoders)}.items():
        if name == "unet" or (folder / name).is_dir():
            base_compatibility.check(folder / name / WEIGHTS, parts)
            with base_compatibility.fitting(folder / name / WEIGHTS, parts):
                PeftModel.from_pretrained(
                    module, folder / name, adapter_name=adapters.ADAPTER, autocast_adapter_dtype=False
                ).eval()
    return parts
