"""Model families by name. A family is one file here and one line in `FAMILIES`; see `family.Family`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pipeline.core import registry
from pipeline.families import model_folder
from pipeline.families.family import Family

FAMILIES: dict[str, str] = {
    "sd": "pipeline.families.sd:StableDiffusion",
    "sdxl": "pipeline.families.sdxl:StableDiffusionXL",
}


def family(name: str) -> Family:
    """The family of this name; ParamsError names the nearest known one."""
    return _made(registry.lookup("base.family", name, FAMILIES))


def check_base(folder: Path, name: str) -> None:
    """InputError unless the folder is a whole model of this family; nothing is loaded."""
    model_folder.check(folder, family(name), all_families())


def all_families() -> list[Family]:
    """Every known family, which a folder is compared with."""
    return [_made(entry) for entry in FAMILIES.values()]


@cache
def _made(entry: str) -> Family:
    made: Family = registry.load(entry)()
    return made
