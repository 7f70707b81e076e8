"""The project that the current folder belongs to: its root folder, params and paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core import registry
from pipeline.core.command_line import project_root
from pipeline.core.errors import InputError

if TYPE_CHECKING:  # params take a fifth of a second to import, and help needs none
    from pipeline.core.params import Params
    from pipeline.core.paths import Paths
    from pipeline.core.records import Report


def root() -> Path:
    """The folder with params.yaml: the current one or the nearest above it; the current one where there is none."""
    return project_root(Path.cwd()) or Path.cwd()


def open_project(species: str = "") -> tuple[Params, Paths]:
    """The params and the paths of one species (or of none).

    Raises
    ------
    ParamsError
        When params.yaml is missing or wrong.
    InputError
        When it has no such species.
    """
    from pipeline.core import params as params_module
    from pipeline.core.paths import Paths

    folder = root()
    params = params_module.load(folder / "params.yaml")
    if species and species not in params.species:
        raise InputError(f"no species {species!r} in params.yaml; {registry.hint(species, params.species, cutoff=0.3)}")
    return params, Paths(folder, species)


def refuse_problems(params: Params, paths: Paths) -> None:
    """ParamsError for what `paleo check` finds: called before a stage runs, and in every dry run."""
    from pipeline.commands import check

    check.refuse(params, paths.root)


def dry_run(command: str, params: Params, paths: Paths, section: str = "") -> Report:
    """The resolved params that `command` would use, as JSON: the base, the species and its own section."""
    from pipeline.commands.listings import Listing

    refuse_problems(params, paths)
    values = params.model_dump(mode="json", by_alias=True)
    shown = {key: values[key] for key in ("seed", "base", section or command) if key in values}
    if paths.species:
        shown["species"] = values["species"][paths.species]
    lines = json.dumps(shown, indent=2, ensure_ascii=False), f"dry run: {command} did nothing"
    return Listing(command, lines, data=shown)
