"""Full fine-tune: every weight of some modules is trained, and a snapshot is a complete diffusers folder.

    pipe = DiffusionPipeline.from_pretrained("models/dodo/step-000500")

Its untouched components are copies of the base's files, byte for byte: they are stored once however many snapshots
there are, and the scheduler keeps exactly the keys that it had.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from pipeline.core.training_params import Prior
from pipeline.families.model_components import ModelComponents
from pipeline.families.model_folder import OMITTED
from pipeline.methods import base_compatibility
from pipeline.methods.tensor_files import write_tensors
from pipeline.methods.trainable import Teacher, Trainable, cast

UNET_FILE, TEXT_FILE = "diffusion_pytorch_model.safetensors", "model.safetensors"


def every_weight(
    components: ModelComponents, modules: Mapping[str, nn.Module], teacher: Teacher | None = None
) -> Trainable:
    """Make all weights of these modules trainable, in full precision, whatever the computation's."""
    for module in modules.values():
        module.requires_grad_(True)
    return Trainable(components, modules, teacher=teacher)


def frozen_copy(
    components: ModelComponents, modules: Mapping[str, nn.Module], prior: Prior, dtype: torch.dtype
) -> Teacher | None:
    """A teacher with copies of these modules as they are now; None where prior preservation uses no teacher."""
    if prior.kind != "teacher" or not prior.weight:
        return None
    copies: dict[int, Any] = {id(module): copy.deepcopy(module).requires_grad_(False) for module in modules.values()}
    cast(copies.values(), dtype)
    if components.device.type == "cuda":  # as in `ddp`, for the same reason
        copies = {key: each.to(memory_format=torch.channels_last) for key, each in copies.items()}
    kept = replace(
        components,
        unet=copies.get(id(components.unet), components.unet),
        text_encoders=tuple(copies.get(id(encoder), encoder) for encoder in components.text_encoders),
    )
    return lambda: nullcontext(kept)


def initialise(module: nn.Module, source: torch.Generator) -> None:
    """Replace the weights of a diffusers or transformers model by new ones, as its library draws them."""
    kind: Any = type(module)
    # Both draw from the global random state, which is restored afterwards; on the CPU, so the device does not matter.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source.initial_seed())
        fresh = kind.from_config(module.config) if hasattr(kind, "from_config") else kind(module.config)
    module.load_state_dict(fresh.state_dict())


def save(trainable: Trainable, folder: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
    """A folder that `DiffusionPipeline.from_pretrained` reads; `metadata` goes into each trained file's header."""
    base = trainable.components.folder
    index = json.loads((base / "model_index.json").read_text(encoding="utf-8"))
    for name in _components(index):
        if name in trainable.modules:
            _write_trained(trainable, name, folder, dtype, metadata)
        else:
            _copy(base / name, folder / name)
    without = {key: [None, None] if key in OMITTED else value for key, value in index.items()}
    if "requires_safety_checker" in without:
        without["requires_safety_checker"] = False
    (folder / "model_index.json").write_text(json.dumps(without, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def restore(components: ModelComponents, folder: Path) -> ModelComponents:
    """The model of a snapshot, on the device and in the dtype of the base that it replaces.

    Raises
    ------
    InputError
        When it is incomplete, or of another family than the base.
    """
    base_compatibility.check(folder / "unet" / UNET_FILE, components)
    return components.family.load(folder, components.device, components.dtype)


def _components(index: Mapping[str, Any]) -> list[str]:
    """Names of the subfolders of a diffusers folder."""
    return [key for key, value in index.items() if isinstance(value, list) and value[0] and key not in OMITTED]


def _write_trained(
    trainable: Trainable, name: str, folder: Path, dtype: torch.dtype, metadata: Mapping[str, str]
) -> None:
    source, target = trainable.components.folder / name, folder / name
    target.mkdir(parents=True)
    shutil.copyfile(source / "config.json", target / "config.json")
    tensors = {key: tensor.to(dtype) for key, tensor in trainable.modules[name].state_dict().items()}
    prefix, file = _missing_prefix(source, tensors), UNET_FILE if name == "unet" else TEXT_FILE
    write_tensors(target / file, {prefix + key: tensor for key, tensor in tensors.items()}, metadata)


def _missing_prefix(source: Path, names: Iterable[str]) -> str:
    """transformers 5 flattens CLIP's names; files are written with the base's names, which older tools expect."""
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
