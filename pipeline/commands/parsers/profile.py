"""`paleo profile NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from pipeline.commands import project
from pipeline.core.command_line import Command, debug_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

EXAMPLES = """
paleo profile sd15 --dry-run    which values would change
paleo profile sdxl              change them
paleo profile pterosaurs        three taxa with sources on the web, on sd15
"""


def _names(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    files = (project.root() / "infra/profiles").glob(f"{incomplete}*.yaml")
    return [CompletionItem(name) for name in sorted(file.stem for file in files)]


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("name", shell_complete=_names, help="Such as sd15, sd21, sdxl or pterosaurs.")
@click.option("--dry-run", is_flag=True, help="Print which values would change and write nothing.")
@debug_option
def profile(name: str, dry_run: bool) -> Report:
    """Write the values of a profile into params.yaml.

    Profiles are the files of infra/profiles; comments in params.yaml are kept.
    """
    from pipeline.commands import profile as command

    return command.profile(project.root(), name, dry_run=dry_run)
