"""LoRA (Hu et al. 2021): W + (alpha / rank) B A, where only the small A and B learn; the text encoder rests.

A snapshot is one file, `pytorch_lora_weights.safetensors`, in the names that diffusers' `load_lora_weights` knows. Its
header has the adapter's config: without it alpha would be lost on loading, and the pictures would be others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import nn

from pipeline.core.errors import ParamsError
from pipeline.core.params import Train
from pipeline.core.records import Subject
from pipeline.core.train_params import Lora
from pipeline.diffusion import noise
from pipeline.families.parts import Parts
from pipeline.training.trainable import Trainable, cast, write_tensors

SECTIONS, SUPPORTED = ("lora",), ("sd", "sdxl")
FILE = "pytorch_lora_weights.safetensors"
ADAPTER = "default"
HEADER = "lora_adapter_metadata"  # diffusers reads the adapter's config from here


def learns_text(train: Train) -> bool:
    """Never: sentences are encoded once."""
    return False


def attach(parts: Parts, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype) -> Trainable:
    """Put adapters into the denoiser; the frozen weights may be in half precision, the adapters never.

    Raises
    ------
    ParamsError
        When one of `train.lora.targets` is the name of no layer.
    """
    from peft import LoraConfig

    _check_targets(parts.unet, train.lora)
    cast((parts.unet, *parts.text_encoders), frozen_dtype)
    config = LoraConfig(r=train.lora.rank, lora_alpha=train.lora.alpha, target_modules=list(train.lora.targets))
    # peft draws the first A from the global state, which is put back afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise.generator(seed, "lora").initial_seed())
        parts.unet.add_adapter(config, adapter_name=ADAPTER)
    trainable = Trainable(parts, {"unet": parts.unet})
    for weight in trainable.parameters.values():
        weight.data = weight.data.float()
    return trainable


def save(trainable: Trainable, folder: Path, dtype: torch.dtype, stamp: Mapping[str, str]) -> None:
    """One file of adapters; `stamp` goes into its header."""
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    state = convert_state_dict_to_diffusers(get_peft_model_state_dict(trainable.modules["unet"], adapter_name=ADAPTER))
    tensors = {f"unet.{name}": tensor.to(dtype) for name, tensor in state.items()}
    write_tensors(folder / FILE, tensors, {HEADER: _adapter_header(trainable.modules["unet"]), **stamp})


def restore(parts: Parts, folder: Path) -> Parts:
    """The base with a snapshot's adapters in it; `parts.unet` is changed."""
    parts.unet.load_lora_adapter(
        str(folder), prefix="unet", weight_name=FILE, adapter_name=ADAPTER, use_safetensors=True, local_files_only=True
    )
    return parts


def _adapter_header(unet: nn.Module) -> str:
    config = {f"unet.{key}": value for key, value in unet.peft_config[ADAPTER].to_dict().items()}
    return json.dumps(config, sort_keys=True, default=_plain)


def _plain(value: object) -> object:
    # A set has no order, and the same adapter must give the same bytes.
    return sorted(value) if isinstance(value, set) else getattr(value, "value", str(value))


def _check_targets(unet: nn.Module, lora: Lora) -> None:
    names = [name for name, module in unet.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    for target in lora.targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise ParamsError(f"train.lora.targets has {target!r}, which matches no layer; there are {_ends(names)}")


def _ends(names: Iterable[str]) -> str:
    """The last words of layer names, with the number where the last is one (`to_out.0`)."""
    ends = {".".join(name.split(".")[-2:]) if name.split(".")[-1].isdigit() else name.split(".")[-1] for name in names}
    return ", ".join(sorted(ends))
