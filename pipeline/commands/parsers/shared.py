"""Arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pipeline.core.command_line import complete_species

F = TypeVar("F", bound=Callable[..., Any])


def species_argument(function: F) -> F:
    """SPECIES, which completes from params.yaml."""
    text = "Its key in params.yaml."
    return click.argument("species", shell_complete=complete_species, help=text)(function)


def dry_run_option(function: F) -> F:
    """`--dry-run` of a command that shows its params."""
    return click.option("--dry-run", is_flag=True, help="Print the resolved params and do nothing.")(function)
