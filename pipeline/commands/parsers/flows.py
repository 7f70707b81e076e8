"""`paleo run | plan | up`: handed to `python -m flows`, which declares their arguments, help and completion."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from pipeline.core import verbosity
from pipeline.core.command_line import Command

FLOWS = {
    "run": "Refresh, reproduce what is stale, register: the whole pipeline.",
    "plan": "Show what `paleo run` would do, and why.",
    "up": "Serve Prefect, MLflow, the gallery and the schedule until Ctrl-C.",
}


class FlowCommand(Command):
    """A command whose process becomes `python -m flows` with the same arguments."""

    def __init__(self, name: str) -> None:
        unparsed = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}
        super().__init__(name, help=FLOWS[name], add_help_option=False, context_settings=unparsed)
        self.params = []  # --quiet too is parsed by flows

    def invoke(self, ctx: click.Context) -> NoReturn:
        quiet = ["--quiet"] if verbosity.is_quiet() else []
        _become_flows(str(self.name), *quiet, *ctx.args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Handed over as well: what is to be completed is in the environment."""
        _become_flows()


def _become_flows(*arguments: str) -> NoReturn:
    os.execv(sys.executable, [sys.executable, "-m", "flows", *arguments])


PARSERS = {name: FlowCommand(name) for name in FLOWS}
