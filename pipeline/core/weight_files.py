"""Checks of a folder of weights, whatever model is in it; nothing is loaded.

Such a folder is downloaded by all kinds of programs, often cut short, and sometimes made by somebody who means harm, so
every way in which it can be wrong has a sentence of its own. Small files are read, and the headers of the large ones.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from pipeline.core.errors import InputError

PICKLES = (".bin", ".ckpt", ".pt", ".pth")
LFS_POINTER = b"version https://git-lfs"


def check_links(folder: Path) -> None:
    """InputError for a symbolic link out of the folder; the folder itself may be one."""
    home = os.path.realpath(folder)
    for place, folders, files in os.walk(home):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            if os.path.islink(path) and os.path.commonpath([home, os.path.realpath(path)]) != home:
                link = os.path.relpath(path, home)
                raise InputError(
                    f"{str(folder)!r} has {link!r}, a symbolic link to {os.readlink(path)!r} outside of the folder; "
                    "where you trust it, copy the folder with its files (`cp -rL`) and name the copy"
                )


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A config of a model folder; InputError when it is missing or damaged."""
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{str(folder)!r} has no {name}, so it is no whole model; download it again") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(folder)!r} has a {name} that is no JSON ({error}); download it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{str(folder)!r} has a {name} that is no JSON object; download it again")
    return content


def check_weights(folder: Path, stem: str) -> None:
    """InputError unless the weights are safetensors, in one file or several, and whole by their headers."""
    for file in _weight_files(folder, stem):
        _check_file(file)


def check_vocabulary(folder: Path, name: str = "") -> None:
    """InputError unless there is a vocabulary: without it transformers makes an empty tokenizer, without a word."""
    if not any((folder / name / file).is_file() for file in ("vocab.json", "tokenizer.json")):
        missing = Path(name) / "vocab.json"
        raise InputError(f"{str(folder)!r} has no {missing}, so it is no whole model; download it again")


def _weight_files(folder: Path, stem: str) -> list[Path]:
    whole, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if not index.is_file():
        raise InputError(f"{str(folder)!r} {_instead(folder, stem)}")
    named = read_json(folder, index.name).get("weight_map")
    if not isinstance(named, dict) or not named or not all(map(_is_file_name, named.values())):
        raise InputError(
            f"{str(folder)!r} has a {index.name} whose weight_map is not of names of files beside it; download it again"
        )
    return [folder / name for name in sorted(set(named.values()))]


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name == os.path.basename(name) and name.endswith(".safetensors")


def _instead(folder: Path, stem: str) -> str:
    """What there is in place of the weights, and what to do about it."""
    if variants := sorted(path.name for path in folder.glob(f"{stem}.*.safetensors")):
        return f"has its weights as the variant {variants[0]} only; rename it to {stem}.safetensors"
    if pickles := sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES):
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
        with safe_open(path, "pt"):
            pass
    except FileNotFoundError:
        raise InputError(f"{str(path)!r} is missing; download the model again") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{str(path)!r} is damaged or no safetensors ({error}); download it again") from error
