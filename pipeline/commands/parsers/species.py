"""`paleo species add | list | show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from pipeline.commands import project
from pipeline.commands.parsers.shared import F, species_argument
from pipeline.core.command_line import Group, debug_option, json_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

ADD = """
A folder of your own pictures, chosen by hand; no network is used:
  paleo species add --folder pictures/cats --noun cat \\
      --licence CC-BY-4.0 --author "Jane Doe" --trusted
The same under a name for prompts (else the folder's):
  paleo species add "Tom the cat" --folder pictures/tom --noun cat \\
      --licence CC0-1.0 --trusted
By its scientific name, with suggested sources on the web:
  paleo species add "Pteranodon longiceps"
  paleo species add "Pteranodon longiceps" --dry-run   print the entry only
  paleo species add Ornithocheiromorpha --pbdb 96501   under your own name
The last three need `collect.contact` in params.yaml, an e-mail or web
address: public databases require to know who sends requests.
"""
LIST = "paleo species list"
SHOW = "paleo species show sinomacrops"
REMOVE = "paleo species remove sinomacrops --dry-run"
RENAME = "paleo species rename sinomacrops bondei --dry-run"


def _licences(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The licences that params.yaml accepts, or by default."""
    from pipeline.core import params as params_module
    from pipeline.core.errors import PaleoError

    try:
        known = params_module.load(project.root() / "params.yaml").collect.licences
    except PaleoError:  # completion reports no errors
        return []
    return [CompletionItem(name) for name in known if name.casefold().startswith(incomplete.casefold())]


@click.group(cls=Group, examples=f"{LIST}\n{SHOW}\n{REMOVE}\n{RENAME}\n{ADD.strip()}")
def species() -> None:
    """Add species to params.yaml, list, show, rename and remove them."""


@species.command(examples=ADD)
@click.argument("name", required=False, help="Its scientific name, or with --folder any name for prompts.")
@click.option("--folder", type=click.Path(path_type=Path), metavar="DIR", help="Your own pictures; no look-up.")
@click.option(
    "--noun", "--class-noun", "class_noun", default="", metavar="NOUN", help="What a base model can draw, such as cat."
)
@click.option(
    "--licence", "--license", "licence", default="", shell_complete=_licences, help="Of the folder: CC-BY-4.0, …"
)
@click.option("--author", default="", metavar="NAME", help="Who made the pictures of the folder; pages credit them.")
@click.option("--trusted", is_flag=True, help="You chose them by hand: CLIP does not judge what they show.")
@click.option("--key", default="", help="Names folders and model.  [default: from the genus, or the folder's name]")
@click.option("--pbdb", type=int, metavar="ID", help="This taxon of the Paleobiology Database (txn:ID).")
@click.option("--gbif", type=int, metavar="KEY", help="This taxon of GBIF.")
@click.option("--dry-run", is_flag=True, help="Print the entry and write nothing.")
@debug_option
def add(name: str | None, folder: Path | None, key: str, class_noun: str, dry_run: bool, **other: Any) -> Report:
    """Add a species: a folder of your own pictures, or a name.

    It is written into params.yaml, whose comments are kept. A scientific name is
    looked up in the Paleobiology Database and GBIF; the entry suggests sources.
    """
    _check_add(name, folder, class_noun, **other)
    params, paths = project.open_project()
    if folder is None:
        from pipeline.commands import species as command

        return command.add(params, paths, name or "", key, class_noun, other["pbdb"], other["gbif"], dry_run)
    from pipeline.commands import add_folder

    own = add_folder.OwnPictures(
        folder, other["licence"], class_noun, other["author"], other["trusted"], name or "", key
    )
    return add_folder.add(params, paths, own, dry_run)


def _check_add(
    name: str | None,
    folder: Path | None,
    class_noun: str,
    licence: str,
    author: str,
    trusted: bool,
    pbdb: int | None,
    gbif: int | None,
) -> None:
    """UsageError where the options do not go together."""
    if folder is None:
        if own := [f"--{option}" for option, value in _given(licence=licence, author=author, trusted=trusted)]:
            raise click.UsageError(f"{own[0]} is said of a folder of pictures; name it with --folder DIR")
        if not (name or "").strip():
            raise click.UsageError("name a species, or a folder of your own pictures with --folder DIR")
        return
    if taxon := [f"--{option}" for option, value in _given(pbdb=pbdb, gbif=gbif)]:
        raise click.UsageError(f"{taxon[0]} is for a look-up by name, and --folder looks nothing up; give one of them")
    if not class_noun.strip():
        raise click.UsageError("--folder needs --noun, a word that the base model can draw, such as cat or bird")
    if not licence.strip():
        raise click.UsageError("--folder needs --licence, such as CC-BY-4.0, or CC0-1.0 for pictures of your own")


def _given(**options: Any) -> list[tuple[str, Any]]:
    return [(option, value) for option, value in options.items() if value not in ("", False, None)]


@species.command("list", examples=LIST)
@json_option
@debug_option
def listing() -> Report:
    """List every species of params.yaml, one line each."""
    params, paths = project.open_project()
    from pipeline.commands import species as command

    return command.table(params, paths)


@species.command(examples=SHOW)
@species_argument
@json_option
@debug_option
def show(species: str) -> Report:
    """Show all that is known of one species."""
    params, paths = project.open_project(species)
    from pipeline.commands import species as command

    return command.show(params, paths)


def _change_options(function: F) -> F:
    """`--yes` and `--dry-run` of a command that changes an entry which is there."""
    dry_run = click.option(
        "--dry-run", is_flag=True, help="Print what stays where and what runs again; change nothing."
    )
    return click.option("--yes", is_flag=True, help="Do it without typing the key on the terminal.")(dry_run(function))


@species.command(examples=f"{REMOVE}\npaleo species remove sinomacrops --yes")
@species_argument
@_change_options
@debug_option
def remove(species: str, yes: bool, dry_run: bool) -> Report:
    """Take a species out of params.yaml; its files and versions stay."""
    params, paths = project.open_project(species)
    from pipeline.commands import species_keys

    return species_keys.remove(params, paths, species_keys.Confirmation(yes, dry_run))


@species.command(examples=f"{RENAME}\npaleo species rename sinomacrops bondei --yes")
@species_argument
@click.argument("new", help="Its new key.")
@_change_options
@debug_option
def rename(species: str, new: str, yes: bool, dry_run: bool) -> Report:
    """Give a species another key; its collection moves along.

    What was made from it, registered versions too, stays under the old key.
    """
    params, paths = project.open_project(species)
    from pipeline.commands import species_keys

    return species_keys.rename(params, paths, new, species_keys.Confirmation(yes, dry_run))
