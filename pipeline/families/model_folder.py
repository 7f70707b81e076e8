"""Checks of a base model's folder: is it a complete diffusers model of a family? Nothing is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import InputError
from pipeline.core.weight_files import check_links, check_vocabulary, check_weights, read_json

if TYPE_CHECKING:
    from pipeline.families.family import Family

PURPOSES = {9: "inpainting", 8: "editing by instructions", 5: "pictures from depth"}  # by the channels that are read
OMITTED = ("safety_checker", "feature_extractor", "image_encoder")  # components of the pipeline that no training uses
LIBRARIES = re.compile("diffusers|transformers|stable_diffusion[a-z_]*")  # whose classes model_index.json may name
MEND = "download the model again from its authors"
PLAIN_NAME = re.compile("[A-Za-z0-9_]+")


def check(folder: Path, family: Family, known: Sequence[Family] = ()) -> None:
    """Does the folder have every component of the family, complete, with weights that can be read?

    `known`: all families, so that a folder of another one is named.

    Raises
    ------
    InputError
        One sentence: what is wrong, where, and what to do.
    """
    check_links(folder)
    index = read_json(folder, "model_index.json")
    _check_index(folder, index)
    _check_kind(folder, family, known or [family], index)
    for name in ("unet", "vae", *family.text_encoders):
        if index.get(name, ()) == [None, None]:
            missing = f"{str(folder)!r} has no {name} by its model_index.json"
            raise InputError(f"{missing}, so it is no whole {family.title}; take another base")
        read_json(folder, f"{name}/config.json")
        check_weights(folder / name, "model" if name in family.text_encoders else "diffusion_pytorch_model")
    read_json(folder, "scheduler/scheduler_config.json")
    _check_channels(folder)
    for name in family.text_encoders:
        check_vocabulary(folder, name.replace("text_encoder", "tokenizer"))
    _check_components(folder, index)


def version_by_width(unet: Mapping[str, Any], shape: Sequence[int], versions: Mapping[int, str]) -> str:
    """The version of a UNet with these channels, by the width of the text that it reads; empty for any other."""
    if tuple(unet["block_out_channels"]) != tuple(shape):
        return ""
    return versions.get(unet["cross_attention_dim"], "")


def _check_index(folder: Path, index: Mapping[str, Any]) -> None:
    """A full fine-tuning hands model_index.json on, with the subfolders that it names, to who loads its snapshots."""
    where = f"{str(folder)!r} has a model_index.json that"
    if not isinstance(index.get("_class_name", ""), str):
        raise InputError(f"{where} names {index['_class_name']!r} for its pipeline, which is no class's name; {MEND}")
    for name, entry in index.items():
        if not isinstance(entry, list | dict) or entry == [None, None]:
            continue
        if not PLAIN_NAME.fullmatch(name) or not _names_class(entry):
            raise InputError(
                f"{where} names {entry!r} for {name!r}, which is no class of diffusers or transformers; {MEND}"
            )


def _names_class(entry: Any) -> bool:
    """Is it [library, class], with code of the installed libraries?"""
    texts = isinstance(entry, list) and len(entry) == 2 and all(isinstance(text, str) for text in entry)
    return bool(texts and LIBRARIES.fullmatch(entry[0]) and entry[1].isidentifier())


def _check_components(folder: Path, index: Mapping[str, Any]) -> None:
    """Whatever model_index.json names must be there, or a full fine-tuning would end before it is saved."""
    named = [name for name, entry in index.items() if isinstance(entry, list) and entry[0] and name not in OMITTED]
    for name in named:
        if not (folder / name).is_dir():
            raise InputError(
                f"{str(folder)!r} has no {name}, which its model_index.json names, so it is no whole model; "
                "download it again"
            )


def _check_kind(folder: Path, family: Family, known: Sequence[Family], index: Mapping[str, Any]) -> None:
    """Is it of this family? Families differ in their components, since many pipelines share one."""
    if not index.get("unet") or not index.get("vae"):
        raise InputError(
            f"{str(folder)!r} is a {index.get('_class_name', 'model without a name')}, which is of no family that is "
            f"known here ({', '.join(each.name for each in known)}); take a Stable Diffusion 1.x, 2.x or XL"
        )
    unet = read_json(folder, "unet/config.json")
    if family.recognises(index, unet):
        return
    found = next((each for each in known if each.recognises(index, unet)), None)
    if found is None:
        raise InputError(f"{str(folder)!r} is not a {family.title}, nor of another family that is known here")
    raise InputError(f"{str(folder)!r} is a {found.title}, not a {family.title}; set base.family to {found.name}")


def _check_channels(folder: Path) -> None:
    """The UNet must read and write latents of the VAE, and nothing else."""
    unet, latent = read_json(folder, "unet/config.json"), read_json(folder, "vae/config.json").get("latent_channels", 4)
    for what, key in (("reads", "in_channels"), ("writes", "out_channels")):
        if unet.get(key, 4) != latent:
            purpose = PURPOSES.get(unet.get(key, 4)) if what == "reads" else None
            made = f", being made for {purpose}" if purpose else ""
            raise InputError(
                f"{str(folder)!r} has a UNet that {what} {unet.get(key)} channels{made}, but its VAE has {latent}; "
                "take the model for text to image"
            )
