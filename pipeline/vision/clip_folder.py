"""Checks of a CLIP folder, as those of a base model: without torch, so that they cost no time."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.weight_files import check_links, check_vocabulary, check_weights, read_json

WHERE = "(`base.clip` in params.yaml)"


def check(folder: Path) -> None:
    """InputError unless the folder is a whole CLIP by its configs and the headers of its weights; nothing is loaded."""
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} {WHERE} is not there; put a CLIP there or correct the path")
    for name in ("config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} {WHERE} is no CLIP folder: it has no {name}")
    check_links(folder)
    kind = read_json(folder, "config.json").get("model_type")
    if kind != "clip":
        raise InputError(f"{folder} {WHERE} is no CLIP folder: its config.json says model_type {kind!r}")
    read_json(folder, "preprocessor_config.json")
    check_vocabulary(folder)
    check_weights(folder, "model")
