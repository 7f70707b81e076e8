"""Checks of a base model's folder: is it a complete diffusers model of a family? Nothing is loaded.

A base is downloaded by all kinds of programs and often cut short, so every way in which it can be wrong has a sentence
of its own. Small files are read, and the headers of the large ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from pipeline.core.errors import InputError

if TYPE_CHECKING:
    from pipeline.families.family import Family

PURPOSES = {9: "inpainting", 8: "editing by instructions", 5: "pictures from depth"}  # by the channels that are read
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
VOCABULARIES = ("vocab.json", "tokenizer.json")
LFS_POINTER = b"version https://git-lfs"


def check(folder: Path, family: Family, known: Sequence[Family] = ()) -> None:
    """Does the folder have every component of the family, complete, with weights that can be read?

    `known`: all families, so that a folder of another one is named.

    Raises
    ------
    InputError
        One sentence: what is wrong, where, and what to do.
    """
    index = read_json(folder, "model_index.json")
    _check_kind(folder, family, known or [family], index)
    for name in ("unet", "vae", *family.text_encoders):
        if index.get(name, ()) == [None, None]:
            missing = f"{str(folder)!r} has no {name} by its model_index.json"
            raise InputError(f"{missing}, so it is no whole {family.title}; take another base")
        read_json(folder, f"{name}/config.json")
        for file in _weight_files(folder / name):
            _check_file(file)
    _check_channels(folder)
    for name in family.text_encoders:
        _check_tokenizer(folder, name.replace("text_encoder", "tokenizer"))


def version_by_width(unet: Mapping[str, Any], shape: Sequence[int], versions: Mapping[int, str]) -> str:
    """The version of a UNet with these channels, by the width of the text that it reads; empty for any other."""
    if tuple(unet["block_out_channels"]) != tuple(shape):
        return ""
    return versions.get(unet["cross_attention_dim"], "")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A config of a model folder; InputError when it is missing or damaged."""
    try:
        content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{str(folder)!r} has no {name}, so it is no whole model; download it again") from None
    except ValueError as error:
        raise InputError(f"{str(folder)!r} has a {name} that is no JSON ({error}); download it again") from None
    return content


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


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors of one part, in one file or several."""
    stem = "model" if folder.name.startswith("text_encoder") else "diffusion_pytorch_model"
    whole, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if index.is_file():
        named = read_json(folder, index.name).get("weight_map", {})
        return [folder / name for name in sorted(set(named.values()))]
    raise InputError(f"{str(folder)!r} {_instead(folder, stem)}")


def _instead(folder: Path, stem: str) -> str:
    """What there is in place of the weights, and what to do about it."""
    if variants := sorted(path.name for path in folder.glob(f"{stem}.*.safetensors")):
        return f"has its weights as the variant {variants[0]} only; rename it to {stem}.safetensors"
    if pickles := sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES):
        return (
            f"has its weights as {pickles[0]} only, a pickle that could run any program; download the model's "
            "safetensors, or load it with diffusers where you trust it and save it anew"
        )
    return f"has no {stem}.safetensors, so its weights are missing; download the model again"


def _check_file(path: Path) -> None:
    """InputError unless it can be read to its end, by the length in its header."""
    try:
        with path.open("rb") as stream:
            if stream.read(len(LFS_POINTER)) == LFS_POINTER:
                raise InputError(f"{str(path)!r} is a pointer of Git LFS and not the weights; run `git lfs pull`")
        with safe_open(path, "np"):
            pass
    except FileNotFoundError:
        raise InputError(f"{str(path)!r} is missing; download the model again") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{str(path)!r} is damaged or no safetensors ({error}); download it again") from error


def _check_tokenizer(folder: Path, name: str) -> None:
    # Without its vocabulary transformers makes an empty tokenizer, to which all sentences are the same.
    if not any((folder / name / vocabulary).is_file() for vocabulary in VOCABULARIES):
        raise InputError(f"{str(folder)!r} has no {name}/{VOCABULARIES[0]}, so it is no whole model; download it again")
