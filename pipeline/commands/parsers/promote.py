"""`paleo promote SPECIES`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.commands import project
from pipeline.commands.parsers.shared import species_argument
from pipeline.core.command_line import Command, debug_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

EXAMPLES = """
paleo promote sinomacrops              the challenger, if it is better
paleo promote sinomacrops --version 2 --force "version 3 draws two heads"
"""


@click.command(cls=Command, examples=EXAMPLES)
@species_argument
@click.option("--version", type=int, metavar="N", help="The version to promote.  [default: the challenger]")
@click.option("--force", metavar="REASON", help="Promote it although it does not beat the champion.")
@click.option("--dry-run", is_flag=True, help="Print what would be promoted and promote nothing.")
@debug_option
def promote(species: str, version: int | None, force: str | None, dry_run: bool) -> Report:
    """Make a registered version the champion.

    The champion is the version that `paleo generate` uses and that is compared with new ones.
    """
    params, paths = project.open_project(species)
    if dry_run:
        project.refuse_problems(params, paths)
    from pipeline.commands import promote as command

    return command.promote(params, paths, version=version, force=force, dry_run=dry_run)
