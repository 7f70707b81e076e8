"""`paleo review SPECIES`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import project
from pipeline.commands.parsers.shared import dry_run_option, species_argument
from pipeline.core.command_line import Command, debug_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

EXAMPLES = """
paleo review sinomacrops                                        write the page
paleo review sinomacrops --import ~/Downloads/sinomacrops.csv   its verdicts
"""


@click.command(cls=Command, examples=EXAMPLES)
@species_argument
@click.option(
    "--import", "file", type=click.Path(path_type=Path), metavar="FILE", help="The CSV file that the page saved."
)
@dry_run_option
@debug_option
def review(species: str, file: Path | None, dry_run: bool) -> Report:
    """Judge pictures by eye on a page, and import the verdicts."""
    params, paths = project.open_project(species)
    if dry_run:
        return project.dry_run("review", params, paths)
    from pipeline.commands import review as command

    return command.take_over(params, paths, file) if file else command.review(params, paths)
