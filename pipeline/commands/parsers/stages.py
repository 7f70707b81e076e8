"""The parsers of the DAG's stages, declared together: `paleo collect SPECIES` … `paleo gallery`."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import project
from pipeline.commands.parsers.shared import F, dry_run_option
from pipeline.core import verbosity
from pipeline.core.command_line import Command, complete_species, debug_option, wants_traceback
from pipeline.core.errors import InputError
from pipeline.core.stages import OVER_ALL_SPECIES, STAGES

if TYPE_CHECKING:
    from pipeline.core.paths import Paths
    from pipeline.core.records import Report


OPTIONS: dict[str, list[click.Parameter]] = {  # what one stage alone has
    "curate": [
        click.Option(
            ["--calibrate"],
            is_flag=True,
            help="Print precision, recall and confusion of the stored scores against data/reviews; change nothing.",
        )
    ],
    "train": [click.Option(["--resume"], is_flag=True, help="Continue an interrupted training, or do nothing.")],
}
EXAMPLES = {
    "collect": """
paleo collect sinomacrops              continues after an interruption
paleo collect sinomacrops --dry-run    the resolved params of this stage
""",
    "curate": """
paleo curate sinomacrops
paleo curate sinomacrops --calibrate   scores against the reviewed verdicts
""",
    "train": """
paleo train sinomacrops            start, or continue an interrupted training
paleo train sinomacrops --resume   continue; if data, params, base or code
                                   have changed, print which and do nothing

On every GPU of this machine:
  export PALEO_ACCELERATE_CONFIG=infra/accelerate/multi_gpu.yaml
  paleo train sinomacrops
""",
}


BEFORE = {  # stage -> the one before it, and the folder of its results as `Paths` has it
    "curate": ("collect", "raw"),
    "validate": ("curate", "curated"),
    "train": ("curate", "curated"),
    "sample": ("train", "model"),
    "evaluate": ("sample", "samples"),
}
STAGE_VARIABLE = "DVC_STAGE"  # which stage DVC runs, `curate@dodo`; `../dvc.yaml:curate@dodo` from another folder


def species_argument(stage: str) -> Callable[[F], F]:
    """SPECIES, or the one for which DVC runs the stage: no key of params.yaml then stands in a shell command."""

    def given_or_run_by_dvc(ctx: click.Context, parameter: click.Parameter, key: str | None) -> str:
        name = os.environ.get(STAGE_VARIABLE, "").rpartition(":")[2]
        if key is None and not name:
            known = ", ".join(item.value for item in complete_species(ctx, parameter, ""))
            raise click.MissingParameter(f"Of params.yaml: {known}", ctx, parameter)
        kind, _, of_stage = name.partition("@")
        if key is None and kind != stage:
            raise InputError(
                f"{STAGE_VARIABLE} is {name!r}, which is no {stage}@SPECIES; name a species of params.yaml"
            )
        return of_stage if key is None else key

    text = "Its key in params.yaml."
    return click.argument(
        "species", required=False, callback=given_or_run_by_dvc, shell_complete=complete_species, metavar="SPECIES",
        help=text,
    )  # fmt: skip


def unchanged(function: F) -> F:
    """The decorator of a stage that runs over all species: it has no argument."""
    return function


def parser(name: str) -> Command:
    """The command of one stage."""
    for_one = name not in OVER_ALL_SPECIES
    call = f"paleo {name} sinomacrops" if for_one else f"paleo {name}"
    examples = EXAMPLES.get(name, f"{call}\n{call} --dry-run    the resolved params of this stage")

    @click.command(name, cls=Command, help=STAGES[name], examples=examples, params=list(OPTIONS.get(name, ())))
    @(species_argument(name) if for_one else unchanged)
    @dry_run_option
    @debug_option
    @click.pass_context
    def command(ctx: click.Context, /, dry_run: bool, species: str = "", **options: bool) -> Report:
        params, paths = project.open_project(species)
        if dry_run:
            return project.dry_run(name, params, paths)
        if not options.get("calibrate"):  # it reads stored scores only
            project.refuse_problems(params, paths)
            _refuse_too_early(name, paths)
        if name == "train":
            _launch(paths.root, species, {**options, "debug": wants_traceback(ctx), "quiet": verbosity.is_quiet()})
        return _run(name, params, paths, **options)

    return command


def _refuse_too_early(name: str, paths: Paths) -> None:
    """InputError where the stage before this one has no result yet."""
    before, folder = BEFORE.get(name, ("", ""))
    if before and not (getattr(paths, folder) / "card.json").is_file():
        species, first = paths.species, f"paleo {before} {paths.species}"
        raise InputError(
            f"{species} has no result of `{before}` yet, which `{name}` reads; run `{first}` first, or "
            f"`paleo run {species}` for all that is needed"
        )


def _run(name: str, params: Any, paths: Any, calibrate: bool = False, **options: bool) -> Report:
    module = import_module(f"pipeline.{name}")
    stage: Callable[..., Report] = module.calibrate if calibrate else getattr(module, name)
    return stage(params, paths, **{key: True for key, value in options.items() if value})


def _launch(root: Path, species: str, flags: dict[str, bool]) -> None:
    """By accelerate's launcher, when a config is named and this process was not launched by one."""
    from pipeline.io import launcher

    given = [f"--{name}" for name, value in flags.items() if value]
    if found := launcher.command(os.environ, root, ["train", species, *given]):
        command, environment = found
        os.execve(command[0], command, environment)


PARSERS = {name: parser(name) for name in STAGES}
