"""`paleo species add | list | show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.commands import project
from pipeline.commands.parsers.shared import species_argument
from pipeline.core.command_line import Group, debug_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

ADD = """
paleo species add "Pteranodon longiceps"
paleo species add "Pteranodon longiceps" --dry-run   print the entry only
paleo species add Ornithocheiromorpha --pbdb 96501   under a name of your own

Set `collect.contact` in params.yaml to an e-mail or web address first: public
databases require to know who sends requests.
"""
LIST = "paleo species list"
SHOW = "paleo species show sinomacrops"


@click.group(cls=Group, examples=f"{LIST}\n{SHOW}\n{ADD.strip()}")
def species() -> None:
    """Find a species and add it to params.yaml; list and show them."""


@species.command(examples=ADD)
@click.argument("name", help='Its scientific name, such as "Pteranodon longiceps".')
@click.option("--key", default="", help="Its key, which names folders and model.  [default: from the genus]")
@click.option("--class-noun", default="", metavar="NOUN", help="What a base model can draw.  [default: by its clade]")
@click.option("--pbdb", type=int, metavar="ID", help="This taxon of the Paleobiology Database (txn:ID).")
@click.option("--gbif", type=int, metavar="KEY", help="This taxon of GBIF.")
@click.option("--dry-run", is_flag=True, help="Print the entry and write nothing.")
@debug_option
def add(name: str, key: str, class_noun: str, pbdb: int | None, gbif: int | None, dry_run: bool) -> Report:
    """Find a species and write its entry into params.yaml.

    It is looked up in the Paleobiology Database and GBIF; the entry suggests sources
    of pictures.
    """
    params, paths = project.open_project()
    from pipeline.commands import species as command

    return command.add(params, paths, name, key, class_noun, pbdb, gbif, dry_run)


@species.command("list", examples=LIST)
@debug_option
def listing() -> Report:
    """List every species of params.yaml, one line each."""
    params, paths = project.open_project()
    from pipeline.commands import species as command

    return command.table(params, paths)


@species.command(examples=SHOW)
@species_argument
@debug_option
def show(species: str) -> Report:
    """Show all that is known of one species."""
    params, paths = project.open_project(species)
    from pipeline.commands import species as command

    return command.show(params, paths)
