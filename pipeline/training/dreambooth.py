"""DreamBooth (Ruiz et al. 2022): every weight of the denoiser learns, and of the text encoder if wanted.

A snapshot is a complete diffusers folder. Its untouched parts are copies of the base's files, byte for byte: they are
stored once however many snapshots there are, and the scheduler keeps exactly the keys that it had.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open

from pipeline.core.params import Train
from pipeline.core.records import Subject
from pipeline.families import FAMILIES
from pipeline.families.parts import Parts
from pipeline.training.trainable import Trainable, cast, write_tensors

SECTIONS, SUPPORTED = ("dreambooth",), ("sd", "sdxl")
UNET_FILE, TEXT_FILE = "diffusion_pytorch_model.safetensors", "model.safetensors"
LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")  # of the pipeline, no part of what is trained


def learns_text(train: Train) -> bool:
    """Does the text encoder change, so that sentences must be encoded anew at every step?"""
    return train.dreambooth.train_text_encoder


def attach(parts: Parts, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype) -> Trainable:
    """Free the weights that learn; they stay in full precision, whatever the computation's."""
    modules = {"unet": parts.unet}
    if learns_text(train):
        names = FAMILIES[parts.family].TRAINED_TEXT_ENCODERS
        modules |= dict(zip(names, parts.text_encoders, strict=True))
    else:
        cast(parts.text_encoders, frozen_dtype)
    for module in modules.values():
        module.requires_grad_(True)
    return Trainable(parts, modules)


def save(trainable: Trainable, folder: Path, dtype: torch.dtype, stamp: Mapping[str, str]) -> None:
    """A folder that `DiffusionPipeline.from_pretrained` reads; `stamp` goes into each trained file's header."""
    base = trainable.parts.folder
    index = json.loads((base / "model_index.json").read_text(encoding="utf-8"))
    for name in _components(index):
        if name in trainable.modules:
            _write_trained(trainable, name, folder, dtype, stamp)
        else:
            _copy(base / name, folder / name)
    lean = {key: [None, None] if key in LEFT_OUT else value for key, value in index.items()}
    if "requires_safety_checker" in lean:
        lean["requires_safety_checker"] = False
    (folder / "model_index.json").write_text(json.dumps(lean, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def restore(parts: Parts, folder: Path) -> Parts:
    """The model of a snapshot, on the device and in the dtype of the base that it replaces."""
    return FAMILIES[parts.family].load(folder, parts.device, parts.dtype)


def _components(index: Mapping) -> list[str]:
    """Names of the subfolders of a diffusers folder."""
    return [key for key, value in index.items() if isinstance(value, list) and value[0] and key not in LEFT_OUT]


def _write_trained(trainable: Trainable, name: str, folder: Path, dtype: torch.dtype, stamp: Mapping[str, str]) -> None:
    source, target = trainable.parts.folder / name, folder / name
    target.mkdir(parents=True)
    shutil.copyfile(source / "config.json", target / "config.json")
    tensors = {key: tensor.to(dtype) for key, tensor in trainable.modules[name].state_dict().items()}
    prefix, file = _missing_prefix(source, tensors), UNET_FILE if name == "unet" else TEXT_FILE
    write_tensors(target / file, {prefix + key: tensor for key, tensor in tensors.items()}, stamp)


def _missing_prefix(source: Path, names: Iterable[str]) -> str:
    """transformers 5 flattens CLIP's names; files are written with the base's names, which older tools know."""
    stored = source / TEXT_FILE
    if not stored.is_file() or any(name.startswith("text_model.") for name in names):
        return ""
    with safe_open(stored, "pt") as weights:
        return "text_model." if any(name.startswith("text_model.") for name in weights.keys()) else ""  # noqa: SIM118


def _copy(source: Path, target: Path) -> None:
    """Configs, vocabularies and safetensors; no pickles, no second variants such as `model.fp16.safetensors`."""
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        wanted = path.suffix in (".json", ".txt") or (path.suffix == ".safetensors" and "." not in path.stem)
        if path.is_file() and wanted:
            shutil.copyfile(path, target / path.name)
