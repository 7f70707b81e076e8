"""Adapters on disk as peft itself writes them: for each module a folder with its config and its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from pipeline.core.errors import InputError
from pipeline.families.model_components import ModelComponents
from pipeline.methods import adapters, base_compatibility
from pipeline.methods.adapters import Adapters
from pipeline.methods.tensor_files import write_tensors
from pipeline.methods.trainable import Trainable

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # peft's, before every name in a file


def save(trainable: Trainable, folder: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
    """`unet/`, and the text encoders' folders if they are trained; `metadata` goes into each file's header."""
    for name, module in trainable.modules.items():
        tensors = {PREFIX + key: tensor.to(dtype) for key, tensor in adapters.tensors_of(module).items()}
        write_tensors(folder / name / WEIGHTS, tensors, metadata)
        config = {**adapters.config_of(module), "inference_mode": True}  # as peft writes it
        text = json.dumps(config, indent=2, sort_keys=True)
        (folder / name / CONFIG).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Adapters:
    """The adapters of a snapshot; InputError when a file is missing or damaged."""
    tensors: dict[str, torch.Tensor] = {}
    configs = {}
    for path in sorted(folder.glob(f"*/{WEIGHTS}")):
        _, own = base_compatibility.read(path, tensors=True)
        module = path.parent.name
        tensors |= {f"{module}.{name.removeprefix(PREFIX)}": tensor for name, tensor in own.items()}
        configs[module] = json.loads((path.parent / CONFIG).read_text(encoding="utf-8"))
    if not configs:
        raise InputError(f"{folder} has no adapters; run its training again")
    return Adapters(tensors, configs)


def restore(components: ModelComponents, folder: Path) -> ModelComponents:
    """The base with a snapshot's adapters in it; its modules are changed.

    Raises
    ------
    InputError
        When the UNet's file is not there or damaged, or a file is for another base.
    """
    from peft import PeftModel

    for name, module in components.by_folder.items():
        if name == "unet" or (folder / name).is_dir():
            base_compatibility.check(folder / name / WEIGHTS, components)
            with base_compatibility.fitting(folder / name / WEIGHTS, components):
                PeftModel.from_pretrained(
                    module, folder / name, adapter_name=adapters.ADAPTER, autocast_adapter_dtype=False
                ).eval()
    return components
