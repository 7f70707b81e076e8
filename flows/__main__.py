"""The flows' command line: `paleo run | plan | up` (= `python -m flows …`). Prefect is imported when one runs."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from flows import project, stop_signals
from flows.errors import FlowError
from pipeline.core import command_line
from pipeline.core.command_line import (
    EXIT_STOPPED,
    Group,
    complete_species,
    debug_option,
    json_option,
    wants_json,
    wants_traceback,
)

RUN_EXAMPLES = """
paleo run                     everything that is stale, for every species
paleo run sinomacrops         one species, what it depends on, and the gallery
paleo run --refresh           collect from the sources again first, due or not

With PREFECT_API_URL set, or while `paleo up` runs, that server shows the run;
else an embedded one stores it for later.
"""
PLAN_EXAMPLES = """
paleo plan                    what `paleo run` would do, and why
paleo plan sinomacrops        one species, what it depends on, and the gallery
paleo plan --json             every stage with its action and reasons
"""
UP_EXAMPLES = """
paleo up                      Prefect, MLflow and the gallery until Ctrl-C
paleo up --cron "0 3 * * 1"   and a run every Monday at three (UTC)
paleo up --mlflow-port 5001   where 5000 is taken
"""
F = TypeVar("F", bound=Callable[..., Any])


class Flows(Group):
    """The commands. A mistake is printed in one sentence and is exit code 1; `--debug` shows its traceback."""

    def invoke(self, ctx: click.Context) -> int:
        stop_signals.install()
        try:
            code: int = super().invoke(ctx)
        except FlowError as error:
            if wants_traceback(ctx):
                raise
            print(f"paleo {ctx.invoked_subcommand}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"paleo {ctx.invoked_subcommand}: stopped", file=sys.stderr)
            return EXIT_STOPPED
        return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 (something to mend), 2 (arguments), 130 (stopped)."""
    return command_line.run(flows, arguments)


def _species_arguments(function: F) -> F:
    text = "Keys in params.yaml.  [default: all]"
    return click.argument("species", nargs=-1, shell_complete=complete_species, help=text)(function)


def _port_option(server: str, default: int) -> Callable[[F], F]:
    name, text = f"--{server.split()[-1].lower()}-port", f"Port of {server}."
    return click.option(name, type=int, metavar="PORT", default=default, show_default=True, help=text)


def _enter_project() -> None:
    project.enter()
    project.settle_environment()


@click.group(cls=Flows)
def flows() -> None:
    """Run the pipeline, show what would run, serve its pages."""


@flows.command(examples=RUN_EXAMPLES)
@_species_arguments
@click.option("--refresh", is_flag=True, help="Collect from the sources again now, even where it is not due.")
@debug_option
@click.pass_context
def run(ctx: click.Context, species: tuple[str, ...], refresh: bool) -> int:
    """Refresh, reproduce what is stale, register: the whole pipeline."""
    _enter_project()
    from flows import run_command

    return run_command.run(list(species), refresh=refresh, debug=wants_traceback(ctx))


@flows.command(examples=PLAN_EXAMPLES)
@_species_arguments
@json_option
@debug_option
@click.pass_context
def plan(ctx: click.Context, species: tuple[str, ...]) -> int:
    """Show what `paleo run` would do, and why."""
    _enter_project()
    from flows import graph, hardware, tables

    project.chosen_species(list(species))
    hardware.check()
    project.check()
    (tables.print_plan_json if wants_json(ctx) else tables.show_plan)(graph.read(list(species)))
    return 0


@flows.command(examples=UP_EXAMPLES)
@click.option("--cron", metavar="CRON", help='When to run the pipeline, in UTC, such as "0 3 * * 1".  [default: never]')
@_port_option("Prefect", 4200)
@_port_option("MLflow", 5000)
@_port_option("the gallery", 8080)
@debug_option
def up(**options: Any) -> int:
    """Serve Prefect, MLflow, the gallery and the schedule on loopback until Ctrl-C."""
    _enter_project()
    from flows import servers

    return servers.up(Namespace(**options))


if __name__ == "__main__":
    sys.exit(main())
