"""`paleo data log | diff SPECIES`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.commands import project
from pipeline.commands.parsers.shared import dry_run_option, species_argument
from pipeline.core.command_line import Group, debug_option, json_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

LOG = "paleo data log sinomacrops          every version with its counts"
DIFF = """
paleo data diff sinomacrops         the last against the one before it
paleo data diff sinomacrops v2      version 2 against data/raw as it is now
paleo data diff sinomacrops v1 v3
"""


@click.group(cls=Group, examples=f"{LOG}{DIFF}")
def data() -> None:
    """List and compare the versions of a species' pictures."""


@data.command(examples=LOG)
@species_argument
@dry_run_option
@json_option
@debug_option
def log(species: str, dry_run: bool) -> Report:
    """List every version, one line each."""
    params, paths = project.open_project(species)
    if dry_run:
        return project.dry_run("data", params, paths)
    from pipeline.commands import data as command

    return command.log(params, paths)


@data.command(examples=DIFF)
@species_argument
@click.argument(
    "revisions",
    nargs=-1,
    metavar="[REV]...",
    help="A version such as v3, a commit, a tag or `now`.  [default: the last two versions; one is compared with now]",
)
@dry_run_option
@json_option
@debug_option
def diff(species: str, revisions: tuple[str, ...], dry_run: bool) -> Report:
    """Show which pictures were added, removed or newly rejected."""
    params, paths = project.open_project(species)
    if dry_run:
        return project.dry_run("data", params, paths)
    from pipeline.commands import data as command

    return command.diff(params, paths, revisions)
