"""Model folders of params: their check, and the digest of their weights."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_tree

WEIGHT_FILES = ("*.safetensors", "*.json", "*.txt")


def model_folder(root: Path, path: str, marker: str = "model_index.json") -> Path:
    """The folder of a base model given in params, relative to the project's root.

    Raises
    ------
    InputError
        When the folder is not there or a file, or lacks `marker` (a diffusers folder has model_index.json,
        a CLIP folder config.json).
    """
    folder = root / path
    if folder.is_file() and marker == "model_index.json":
        raise InputError(
            f"the base model {path!r} is a single file, but a folder is needed; make one with diffusers "
            "(`StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)`; XL: StableDiffusionXLPipeline)"
        )
    if not folder.is_dir():
        raise InputError(f"the base model folder {path!r} is not there; download it or mend `base:` in params.yaml")
    if not (folder / marker).is_file():
        raise InputError(f"{path!r} has no {marker}, so it is no model folder; mend `base:` in params.yaml")
    return folder


def weights_digest(folder: Path) -> str:
    """sha256 over the weights, configs and vocabularies of a model folder."""
    return digest_tree(folder, WEIGHT_FILES)
