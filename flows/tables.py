"""Terminal tables: the plan, and the results of a run."""

from __future__ import annotations

import json
import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows import durations, next_steps, project
from flows.graph import Action, Graph, Stage

if TYPE_CHECKING:
    from flows.pipeline import Result

MLFLOW, PREFECT = "http://127.0.0.1:5000", "http://127.0.0.1:4200"  # where `paleo up` serves by default
MOST_ALIKE = 3  # rows of one kind of stage with one reason; more become one row
WHY_LINES = 2  # of reasons, in a row
PLAN_COLUMNS = 18  # beside the stage's name and the reasons: action, minutes, and the spaces between
NARROWEST = 20
STYLES: dict[Action, str] = {"run": "bold yellow", "restore": "cyan", "after": "yellow", "cached": "dim"}


def show_plan(graph: Graph) -> None:
    """Print every stage that is not cached, in the order in which it would run: what becomes of it, why, how long."""
    console, seconds = Console(highlight=False), durations.estimate(graph.stale)
    table = _table("stage", "action", "why", *(["min"] if seconds else []))
    rows = list(_plan_rows(graph.stale, seconds))
    width = console.width - max([len(row[0]) for row in rows], default=0) - PLAN_COLUMNS
    for label, action, why, minutes in rows:
        lines = textwrap.wrap(why, max(width, NARROWEST), max_lines=WHY_LINES, placeholder=" …")
        cells = (escape(label), f"[{STYLES[action]}]{action}[/]", escape("\n".join(lines)), minutes)
        table.add_row(*(cells if seconds else cells[:-1]))
    if rows:
        console.print(table)
    for entry in graph.missing:
        more = f" and {len(entry.stages) - 1} more" if entry.stages[1:] else ""
        console.print(f"[bold red]missing:[/] {escape(entry.name)}, needed by {entry.stages[0]}{more}")
    if holder := project.run_at_work():
        console.print(f"a run is at work here (process {holder}), so this changes while it does")
    console.print(("\n" if rows else "") + _summary(graph, seconds))


def _plan_rows(stages: Iterable[Stage], seconds: Mapping[str, float]) -> Iterator[tuple[str, Action, str, str]]:
    """Stage, action, why and minutes; one row for many species of which the same is true."""
    alike: dict[tuple[str, Action, str], list[Stage]] = {}
    for stage in stages:
        why = "; ".join(stage.why)
        general = why.replace(stage.species, "SPECIES") if stage.species else why
        alike.setdefault((stage.kind, stage.action, general), []).append(stage)
    for (kind, action, why), group in alike.items():
        if len(group) > MOST_ALIKE:
            yield f"{kind} of {len(group)} species", action, why, _minutes([seconds.get(s.name) for s in group])
        else:
            yield from ((s.name, action, "; ".join(s.why), _minutes([seconds.get(s.name)])) for s in group)


def _minutes(seconds: list[float | None]) -> str:
    """Together, or ? where one of them was never timed."""
    known = [each for each in seconds if each is not None]
    if len(known) < len(seconds):
        return "?"
    return f"{sum(known) / 60:.1f}"


def print_plan_json(graph: Graph) -> None:
    """The same for programs: every stage in order, and what is missing."""
    stages = [{"stage": s.name, "action": s.action, "why": s.why, "needs": s.needs} for s in graph.stages]
    missing = [{"name": entry.name, "needed_by": entry.stages} for entry in graph.missing]
    print(json.dumps({"stages": stages, "missing": missing}, indent=2, ensure_ascii=False))


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=heading != "why", overflow="fold")
    return table


def _summary(graph: Graph, seconds: Mapping[str, float]) -> str:
    """`3 run, 2 after, 14 cached; …`, and how long it takes by the last runs."""
    counts = Counter(stage.action for stage in graph.stages)
    text = ", ".join(f"{counts[action]} {action}" for action in STYLES if counts[action])
    if not graph.stale:
        return f"{text}; nothing to do"
    untimed = len(graph.stale) - len(seconds)
    if not seconds:
        return f"{text}; how long is unknown, as none of these was timed here yet; `paleo run` does it"
    were = "stage was" if untimed == 1 else "stages were"
    more = f", and {untimed} {were} never timed" if untimed else ""
    return f"{text}; by earlier runs about {sum(seconds.values()) / 60:.0f} min one by one{more}; `paleo run` does it"


def show_result(result: Result, *, embedded_server: bool) -> None:
    """Print the short table, and where the rest is."""
    from flows.release import HEADINGS, cells

    console, table = Console(highlight=False), _table(*HEADINGS)
    for row in result.rows:
        table.add_row(*cells(row))
    console.print()
    console.print(table)
    console.print()
    for name, where in _places(result, embedded_server=embedded_server):
        console.print(f"{name:<10}{escape(where)}", soft_wrap=True)
    if all(outcome.ending in ("ran", "cached") for outcome in result.outcomes):
        _show_next_steps(console, next((row.species for row in result.rows if row.version), ""))


def _show_next_steps(console: Console, species: str) -> None:
    console.print()
    for command, purpose in next_steps.commands(species):
        console.print(f"[dim]# {purpose}[/]\n{escape(command)}", soft_wrap=True)


def _places(result: Result, *, embedded_server: bool) -> Iterable[tuple[str, str]]:
    """Each with the page that shows it, or the command that serves one."""
    page, store, api = Path("site/index.html"), os.environ.get("MLFLOW_TRACKING_URI", ""), os.environ["PREFECT_API_URL"]
    if page.is_file():
        yield "gallery", str(page.absolute())
    up = f"{next_steps.program('paleo')} up"
    models, runs = "/#/models?workflowType=machine_learning", "/runs"
    yield "models", f"{store}{models}" if store.startswith("http") else f"`{up}`, then {MLFLOW}{models}"
    yield "runs", f"`{up}`, then {PREFECT}{runs}" if embedded_server else f"{api.removesuffix('/api')}{runs}"
    if result.logs.is_dir():
        yield "logs", str(result.logs)
