"""`paleo register [SPECIES]...`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.commands import project
from pipeline.core.command_line import Command, complete_species, debug_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

EXAMPLES = """
paleo register                          every species
paleo register sinomacrops --dry-run    what would be registered
paleo register --links                  releases/, with today's links
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("species", nargs=-1, shell_complete=complete_species, help="Keys in params.yaml.  [default: all]")
@click.option("--dry-run", is_flag=True, help="Print what would be registered and register nothing.")
@click.option("--links", is_flag=True, help="Only write the pages in releases/ with the servers' present addresses.")
@debug_option
def register(species: tuple[str, ...], dry_run: bool, links: bool) -> Report:
    """Register the chosen checkpoint in MLflow, once per lineage."""
    params, paths = project.open_project()
    keys = [project.open_project(key)[1].species for key in species] or list(params.species)
    if dry_run:
        project.refuse_problems(params, paths)
    from pipeline.commands import register as command

    if links:
        return command.refresh_links(paths.root)
    return command.register(params, [paths.of(key) for key in keys], dry_run=dry_run)
