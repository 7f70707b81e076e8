"""`paleo run | plan | up` (= `python -m flows …`)."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType

from flows import project
from flows.errors import FlowError

EXAMPLES = {
    "run": """examples:
  paleo run                     everything that is stale, for every species
  paleo run sinomacrops         one species, what it depends on, and the gallery
  paleo run --refresh           look at the sources again first, due or not

With PREFECT_API_URL set, or while `paleo up` runs, that server shows the run; else an embedded one keeps it for later.
""",
    "plan": """examples:
  paleo plan                    what `paleo run` would do, and why
  paleo plan sinomacrops        one species, what it depends on, and the gallery
""",
    "up": """examples:
  paleo up                                  Prefect, MLflow and the gallery until Ctrl-C
  paleo up --cron "0 3 * * 1"               and a run every Monday at three (UTC)
  paleo up --mlflow-port 5001               where 5000 is taken
""",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 (something to mend), 130 (stopped)."""
    args = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _as_interrupt)
    signal.signal(signal.SIGHUP, _as_interrupt)
    try:
        project.enter()
        project.settle_environment()
        return args.handler(args)
    except FlowError as error:
        if args.debug:
            raise
        print(f"paleo {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"paleo {args.command}: stopped", file=sys.stderr)
        return 130


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="paleo", description="The flows of the pipeline.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = _command(commands, "run", "refresh, reproduce what is stale, register: the whole pipeline", _run)
    run.add_argument("--refresh", action="store_true", help="look at the sources now, even where it is not due")
    _species(run)
    plan = _command(commands, "plan", "what `paleo run` would do, and why", _plan)
    _species(plan)
    up = _command(commands, "up", "Prefect, MLflow, gallery and schedule on loopback until Ctrl-C", _up)
    up.add_argument("--cron", metavar="CRON", help='when to run the pipeline ("0 3 * * 1", UTC); default: never')
    up.add_argument("--prefect-port", type=int, default=4200, help="default: %(default)s")
    up.add_argument("--mlflow-port", type=int, default=5000, help="default: %(default)s")
    up.add_argument("--gallery-port", type=int, default=8080, help="default: %(default)s")
    return top


def _command(commands, name: str, text: str, handler) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=text, description=text, epilog=EXAMPLES[name], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command.set_defaults(handler=handler)
    return command


def _species(command: argparse.ArgumentParser) -> None:
    command.add_argument("species", nargs="*", metavar="SPECIES", help="keys in params.yaml; none: all")


def _plan(args: argparse.Namespace) -> int:
    from flows import graph, hardware, tables

    project.chosen_species(args.species)
    hardware.check()
    tables.show_plan(graph.read(args.species))
    return 0


def _run(args: argparse.Namespace) -> int:
    from flows import run_command

    return run_command.run(args.species, refresh=args.refresh, debug=args.debug)


def _up(args: argparse.Namespace) -> int:
    from flows import servers

    return servers.up(args)


if __name__ == "__main__":
    sys.exit(main())
