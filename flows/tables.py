"""Terminal tables: the plan, and the results of a run."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.graph import Action, Graph, Stage

if TYPE_CHECKING:
    from flows.pipeline import Result

MLFLOW, PREFECT = "http://127.0.0.1:5000", "http://127.0.0.1:4200"  # where `paleo up` serves by default
STYLES: dict[Action, str] = {"run": "bold yellow", "restore": "cyan", "after": "yellow", "cached": "dim"}


def show_plan(graph: Graph) -> None:
    """Print every stage in the order in which it would run: what becomes of it, and why."""
    console, table = Console(highlight=False), _table("stage", "action", "why")
    for stage in graph.stages:
        table.add_row(stage.name, f"[{STYLES[stage.action]}]{stage.action}[/]", escape("; ".join(stage.why)))
    console.print(table)
    for entry in graph.missing:
        more = f" and {len(entry.stages) - 1} more" if entry.stages[1:] else ""
        console.print(f"[bold red]missing:[/] {escape(entry.name)}, needed by {entry.stages[0]}{more}")
    console.print(f"\n{_summary(graph.stages)}")


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


def _summary(stages: Iterable[Stage]) -> str:
    """`3 run, 2 after, 14 cached; …`"""
    counts = Counter(stage.action for stage in stages)
    text = ", ".join(f"{counts[action]} {action}" for action in STYLES if counts[action])
    return f"{text}; nothing to do" if set(counts) == {"cached"} else f"{text}; `paleo run` does it"


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


def _places(result: Result, *, embedded_server: bool) -> Iterable[tuple[str, str]]:
    """Each with the page that shows it, or the command that serves one."""
    page, store, api = Path("site/index.html"), os.environ.get("MLFLOW_TRACKING_URI", ""), os.environ["PREFECT_API_URL"]
    if page.is_file():
        yield "gallery", str(page.absolute())
    models, runs = "/#/models?workflowType=machine_learning", "/runs"
    yield "models", f"{store}{models}" if store.startswith("http") else f"`paleo up`, then {MLFLOW}{models}"
    yield "runs", f"`paleo up`, then {PREFECT}{runs}" if embedded_server else f"{api.removesuffix('/api')}{runs}"
    if result.logs.is_dir():
        yield "logs", str(result.logs)
