"""Check of a CLIP folder: has it what CLIP is read from, whole? Nothing is loaded, and torch is not imported."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from pipeline.core.errors import InputError

# Without its vocabulary transformers makes an empty tokenizer, to which all sentences are the same.
FILES = (("config.json",), ("preprocessor_config.json",), ("vocab.json", "tokenizer.json"))
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def check(folder: Path) -> None:
    """InputError unless the folder has every file of a CLIP, with weights that can be read to their end."""
    named = f"{str(folder)!r} (`base.clip` in params.yaml)"
    if not folder.is_dir():
        raise InputError(f"{named} is not there; put a CLIP there or correct the path")
    for names in FILES:
        if not any((folder / name).is_file() for name in names):
            raise InputError(f"{named} is no CLIP folder: it has no {names[0]}; correct the path or download it again")
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type", "clip")
        for weights in _weights(folder):
            with safe_open(weights, "np"):  # reads the header, and compares its length with that of the file
                pass
    except (OSError, ValueError, AttributeError, SafetensorError) as error:
        detail = " ".join(str(error).split())
        raise InputError(f"{named} is damaged or incomplete ({detail}); download it again") from None
    if kind != "clip":
        raise InputError(f"{named} is a model of the type {kind!r}; take a CLIP")


def _weights(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return [folder / WEIGHTS]
    files = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
    return [folder / name for name in sorted(set(files.values()))]
