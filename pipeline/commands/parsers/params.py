"""`paleo params [KEY]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from pipeline.commands import project
from pipeline.core.command_line import Command, debug_option, json_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

EXAMPLES = """
paleo params                                  all params as commented YAML
paleo params --all                            with the sections of all methods
paleo params train.lr_schedule                one param
paleo params train.monitor                    one section
paleo params --rewrite                        rename old keys in params.yaml
paleo params --rewrite --file infra/profiles/sd15.yaml
"""


def _keys(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from pipeline.core.param_docs import static_keys
    from pipeline.core.params import Params

    return [CompletionItem(key, help=doc) for key, doc in static_keys(Params).items() if key.startswith(incomplete)]


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("key", required=False, shell_complete=_keys, help="A dotted key, such as train.lr_schedule.")
@click.option("--all", "all_plugins", is_flag=True, help="Include the sections of plugins that are not used.")
@click.option("--rewrite", is_flag=True, help="Rename old keys in the file; comments and order are kept.")
@click.option(
    "--file", type=click.Path(path_type=Path), metavar="FILE", help="Another params file.  [default: params.yaml]"
)
@click.option("--dry-run", is_flag=True, help="With --rewrite: print what would be renamed and write nothing.")
@json_option
@debug_option
def params(key: str | None, all_plugins: bool, rewrite: bool, file: Path | None, dry_run: bool) -> Report:
    """Print params with their documentation, or rename old keys.

    The output is YAML; a comment behind every value says whether it is written in
    params.yaml or a default.
    """
    from pipeline.commands import params as command

    place = file or project.root() / "params.yaml"
    if rewrite:
        return command.rewrite(place, dry_run=dry_run)
    return command.show_key(place, key) if key else command.show(place, all_plugins=all_plugins)
