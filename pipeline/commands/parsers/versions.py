"""`paleo versions [SPECIES]...`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.commands import project
from pipeline.core.command_line import Command, complete_species, debug_option, json_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

EXAMPLES = """
paleo versions                       of every species
paleo versions sinomacrops --json    with all their metrics
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("species", nargs=-1, shell_complete=complete_species, help="Their keys.  [default: all of params.yaml]")
@json_option
@debug_option
def versions(species: tuple[str, ...]) -> Report:
    """List the registered versions, and why one is the champion or not."""
    params, paths = project.open_project()
    from pipeline.commands import versions as command

    return command.versions(params, paths, species)
