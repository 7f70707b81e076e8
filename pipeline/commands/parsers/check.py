"""`paleo check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.commands import project
from pipeline.core.command_line import Command, debug_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

EXAMPLES = """
paleo check        everything in params.yaml, and what it names
"""


@click.command(cls=Command, examples=EXAMPLES)
@debug_option
def check() -> Report:
    """Check params.yaml, the models that it names, outputs and disk; run nothing."""
    from pipeline.commands import check as command

    return command.check(*project.open_project())
