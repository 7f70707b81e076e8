"""The parsers of the DAG's stages, declared together: `paleo collect SPECIES` … `paleo gallery`."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import project
from pipeline.commands.parsers.shared import F, dry_run_option, species_argument
from pipeline.core import verbosity
from pipeline.core.command_line import Command, debug_option, wants_traceback
from pipeline.core.stages import OVER_ALL_SPECIES, STAGES

if TYPE_CHECKING:
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


def unchanged(function: F) -> F:
    """The decorator of a stage that runs over all species: it has no argument."""
    return function


def parser(name: str) -> Command:
    """The command of one stage."""
    for_one = name not in OVER_ALL_SPECIES
    call = f"paleo {name} sinomacrops" if for_one else f"paleo {name}"
    examples = EXAMPLES.get(name, f"{call}\n{call} --dry-run    the resolved params of this stage")

    @click.command(name, cls=Command, help=STAGES[name], examples=examples, params=list(OPTIONS.get(name, ())))
    @(species_argument if for_one else unchanged)
    @dry_run_option
    @debug_option
    @click.pass_context
    def command(ctx: click.Context, /, dry_run: bool, species: str = "", **options: bool) -> Report:
        params, paths = project.open_project(species)
        if dry_run:
            return project.dry_run(name, params, paths)
        if name == "train":
            _launch(paths.root, species, {**options, "debug": wants_traceback(ctx), "quiet": verbosity.is_quiet()})
        return _run(name, params, paths, **options)

    return command


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
