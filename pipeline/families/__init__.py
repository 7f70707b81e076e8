"""What a model is. A family is a module with `load`, `encode_prompt`, `encode_tokens`, `predict` and `pipeline`."""

from __future__ import annotations

import difflib
from pathlib import Path
from types import ModuleType

from pipeline.core.errors import ParamsError
from pipeline.families import model_folder, sd, sdxl

FAMILIES: dict[str, ModuleType] = {"sd": sd, "sdxl": sdxl}


def check_base(folder: Path, name: str) -> None:
    """InputError unless the folder is a whole model of this family; nothing is loaded."""
    model_folder.check(folder, name, family(name).TRAINED_TEXT_ENCODERS)


def family(name: str) -> ModuleType:
    """The family of this name; ParamsError names the nearest known one."""
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(FAMILIES)}"
        raise ParamsError(f"base.family is {name!r}, which is no family; {hint}")
    return FAMILIES[name]
