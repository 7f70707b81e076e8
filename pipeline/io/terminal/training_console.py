"""A training's numbers for people, on standard error: live on a terminal, plain lines every two seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.core.records import MonitoringReport, StepReport

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_EVERY_S = 2.0
TIMESTEPS_SHOWN = 8  # of a look, on a terminal that is wide enough
CELL = 8  # characters of a column of that table
Show = Callable[[StepReport | MonitoringReport], None]
Tell = Callable[[str, int, int], None]  # what is done, how many of it, of how many


@contextmanager
def shown(name: str, n_steps: int, *, main_process: bool = True) -> Iterator[Show]:
    """While it is open: a function that is told every step and every look, and shows some of it."""
    if not main_process:
        yield lambda report: None
    elif sys.stderr.isatty():
        with _live(name, n_steps) as show:
            yield show
    else:
        yield _Lines(name, n_steps)


@contextmanager
def preparing(name: str, *, main_process: bool = True) -> Iterator[Tell]:
    """While it is open: a function that is told what is being prepared, and how much of it is done."""
    if not main_process:
        yield lambda what, done, total: None
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield _Phases(name, bars)
    else:
        yield _PhaseLines(name)


def time_table(seconds: Mapping[str, float]) -> tuple[str, ...]:
    """Where the time went, in aligned lines; parts of a kind (`steps/forward`) stand below it with what is left."""
    kinds = [kind for kind in seconds if "/" not in kind]
    rows = [row for kind in kinds for row in _rows(kind, seconds)]
    total = sum(seconds[kind] for kind in kinds)
    width = max([len("where the time went"), *(len(label) for label, _ in rows)])
    lines = [f"{label:<{width}}{spent:>9.1f} s{spent / max(total, 1e-9):>7.1%}" for label, spent in rows]
    return (f"{'where the time went':<{width}}{total:>9.1f} s", *lines)


def _rows(kind: str, seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    parts = {name.partition("/")[2]: spent for name, spent in seconds.items() if name.startswith(f"{kind}/")}
    if parts:
        parts["the rest"] = max(0.0, seconds[kind] - sum(parts.values()))
    return [(f"  {kind}", seconds[kind]), *((f"    {part}", spent) for part, spent in parts.items())]


# --- without a terminal ---


class _Lines:
    """The first step, then one every two seconds, and the last; every look."""

    def __init__(self, name: str, n_steps: int):
        self.name, self.n_steps, self.last_s = name, n_steps, 0.0

    def __call__(self, report: StepReport | MonitoringReport) -> None:
        if isinstance(report, MonitoringReport):
            if report.losses:
                _say(f"{self.name}: step {report.step}, {_look_words(report)}")
            return
        now_s = time.monotonic()
        if now_s - self.last_s >= LINE_EVERY_S or report.step == self.n_steps:
            self.last_s = now_s
            _say(f"{self.name}: step {report.step} of {self.n_steps}, {_numbers(report)}")


class _PhaseLines:
    """A line when something is begun, and one every two seconds."""

    def __init__(self, name: str):
        self.name, self.what, self.last_s = name, "", 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now_s = time.monotonic()
        if what != self.what or now_s - self.last_s >= LINE_EVERY_S:
            self.what, self.last_s = what, now_s
            _say(f"{self.name}: {what}" + (f", {done} of {total}" if total > 1 else ""))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _look_words(report: MonitoringReport) -> str:
    words = f"held-out loss {report.loss:.4f}"
    if not report.before or report.step == 0:
        return words
    low, high = (choose(report.relative.items(), key=lambda pair: pair[1]) for choose in (min, max))
    span = f"{low[1]:.1%} at t {low[0]} to {high[1]:.1%} at t {high[0]}"
    return f"{words}, {report.relative_loss:.1%} of step 0's ({span})"


# --- on a terminal ---


@contextmanager
def _live(name: str, n_steps: int) -> Iterator[Show]:
    """A bar with a line of numbers below it; looks stay above as a growing table."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.padding import Padding
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    numbers = Progress(TextColumn("{task.description}", style="dim"))
    below = Padding(numbers, (0, 0, 0, 2))
    task, words = progress.add_task(name, total=n_steps), numbers.add_task("")
    console = Console(stderr=True)
    table = _LookTable(console.width)

    def show(report: StepReport | MonitoringReport) -> None:
        if isinstance(report, MonitoringReport):
            for line in table.lines(report):
                console.print(line, highlight=False, soft_wrap=True)
        else:
            progress.update(task, completed=report.step)
            numbers.update(words, description=_numbers(report))

    with Live(Group(progress, below), console=console, transient=True, refresh_per_second=5):
        yield show


class _LookTable:
    """One line for each look, with a heading before the first one."""

    def __init__(self, width: int) -> None:
        self.headed = False
        self.n_shown = max(1, min(TIMESTEPS_SHOWN, (width - len(_row("", "", []))) // CELL))

    def lines(self, report: MonitoringReport) -> list[str]:
        if not report.losses:
            return []
        shown = _spread(list(report.losses), self.n_shown)
        heading = [] if self.headed else [_row("held-out loss", "mean", [f"t {t}" for t in shown])]
        self.headed = True
        if report.step == 0 or not report.before:
            cells = [f"{report.losses[t]:.4f}" for t in shown]
            return [*heading, _row(f"step {report.step}", f"{report.loss:.4f}", cells)]
        cells = [f"{report.relative[t]:.1%}" for t in shown]
        return [*heading, _row(f"step {report.step}", f"{report.relative_loss:.1%}", cells)]


def _row(label: str, mean: str, cells: list[str]) -> str:
    return f"{label:<14}{mean:>8}  " + "".join(f"{cell:>{CELL}}" for cell in cells)


def _spread(items: list[int], n: int) -> list[int]:
    """At most n of them, equally far apart."""
    return items[:: -(-len(items) // max(1, n))]


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


class _Phases:
    """One bar for each thing that is prepared."""

    def __init__(self, name: str, bars: Progress):
        self.name, self.bars, self.tasks = name, bars, {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(f"{self.name}: {what}", total=total)
        self.bars.update(self.tasks[what], completed=done, total=total)


# --- numbers ---


def _numbers(report: StepReport) -> str:
    words = [f"loss {report.loss:.4f}", f"{report.images_per_second:.1f} images/s", f"{report.seconds:.3f} s a step"]
    if report.memory_mb:
        words.append(_memory(report.memory_mb))
    return ", ".join([*words, f"gradient {report.gradient_norm:.2f}"])


def _memory(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
