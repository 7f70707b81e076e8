"""The command line `paleo` (= `python -m pipeline`): errors in one sentence, exit codes, help by kind of command."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from pipeline.commands import COMMANDS
from pipeline.commands.parsers import flows, stages
from pipeline.core import verbosity
from pipeline.core.command_line import (
    EXIT_STOPPED,
    Group,
    LazyCommands,
    quiet_option,
    run,
    version_option,
    wants_json,
    wants_traceback,
)
from pipeline.core.errors import EXIT_FAILED, PaleoError
from pipeline.core.stages import STAGES

SECTIONS = {"The whole pipeline": flows.FLOWS, "Stages of the DAG": STAGES, "Other commands": COMMANDS}
# transformers warns of a missing torchvision, which nothing here needs, and shows a bar for every file it reads
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
# How long a thread that waits for the others spins before it sleeps. With libgomp's own 300 000 turns a training beside
# other programs is many times slower; without any (OMP_WAIT_POLICY=PASSIVE) an undisturbed one is.
THREAD_WAITING = {"GOMP_SPINCOUNT": "3000"}
EXAMPLES = """
paleo run                            all that is stale, for every species
paleo run sinomacrops                one species
paleo plan                           what would run, and why
paleo curate sinomacrops --dry-run   the resolved params of one stage
paleo params train                   params with their documentation
paleo generate sinomacrops "{name} flying over the sea" --seed 7 -n 4
paleo species add "Pteranodon longiceps"
paleo up --cron "0 3 * * 1"          servers, gallery and a weekly schedule
"""


class Paleo(Group):
    """All commands. A mistake is printed in one sentence and is exit code 1; `--debug` shows its traceback."""

    def invoke(self, ctx: click.Context) -> int:
        waiting = {} if "OMP_WAIT_POLICY" in os.environ else THREAD_WAITING
        for name, value in {**QUIET, **waiting}.items():  # libraries read them when they are imported
            os.environ.setdefault(name, value)
        try:
            _print(ctx, super().invoke(ctx))
        except PaleoError as error:
            if wants_traceback(ctx):
                raise
            return _failed(ctx, str(error), error.exit_code)
        except OSError as error:  # a full disk, or permissions, in the middle of the work
            if wants_traceback(ctx) or not error.strerror or isinstance(error, BrokenPipeError):
                raise
            where = f" ({error.filename})" if error.filename else ""
            mend = "earlier results are as they were, mend it and run this again"
            return _failed(ctx, f"{error.strerror}{where}; {mend}", EXIT_FAILED)
        except KeyboardInterrupt:
            return _failed(ctx, "stopped", EXIT_STOPPED)
        return 0

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for title, names in SECTIONS.items():
            rows = [(f"{name:<{width}}", self.commands[name].get_short_help_str(limit=80)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)


def _print(ctx: click.Context, report: Any) -> None:
    """What a command reports. With `--quiet`: of a listing all, of any other report its warnings."""
    if report is None:
        return
    is_listing = hasattr(report, "json_text")
    if is_listing and wants_json(ctx):
        click.echo(report.json_text)
        return
    for line in report.lines:
        if is_listing or not verbosity.is_quiet() or line.startswith("warning:"):
            click.echo(line)


def _failed(ctx: click.Context, sentence: str, code: int) -> int:
    print(f"paleo {ctx.invoked_subcommand}: {sentence}", file=sys.stderr, flush=True)
    return code


def program() -> Paleo:
    """The command line; nothing heavy is imported for its help."""
    commands: Any = LazyCommands({**flows.PARSERS, **stages.PARSERS, **COMMANDS})
    text = "From the name of an extinct animal to a fine-tuned text-to-image model that can be trusted."
    options: list[click.Parameter] = [version_option(), quiet_option()]
    return Paleo("paleo", commands=commands, params=options, help=text, examples=EXAMPLES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, 1 (mistake), 2 (arguments), 75 (interrupted, saved), 130 (Ctrl-C)."""
    return run(program(), arguments)


def console_script() -> NoReturn:
    """`paleo` as a process: its exit code is that of `main`, and Ctrl-C ends it at once."""
    code = main()
    if code == EXIT_STOPPED and threading.active_count() > 1:  # downloads that Python would wait for
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    console_script()
