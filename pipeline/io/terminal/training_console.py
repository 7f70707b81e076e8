"""Training console: progress and numbers of a training on standard error.

Live on a terminal, plain lines every two seconds elsewhere.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.core.records import MonitoringReport, StepReport
from pipeline.core.verbosity import is_quiet

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY_S = 2.0
MAX_TIMESTEPS = 8  # of held-out losses, on a terminal that is wide enough
CELL_WIDTH = 8  # characters of a column of that table
OnReport = Callable[[StepReport | MonitoringReport], None]
OnProgress = Callable[[str, int, int], None]  # what is computed, how many are done, of how many


@contextmanager
def training_progress(name: str, n_steps: int, *, main_process: bool = True) -> Iterator[OnReport]:
    """While it is open: a function that takes every report of a step or of monitoring, and prints some of it."""
    if not main_process or is_quiet():
        yield lambda report: None
    elif sys.stderr.isatty():
        with _live(name, n_steps) as show:
            yield show
    else:
        yield _Lines(name, n_steps)


@contextmanager
def preparation_progress(name: str, *, main_process: bool = True) -> Iterator[OnProgress]:
    """While it is open: a function that takes what is being prepared and how much of it is done, and prints some."""
    if not main_process or is_quiet():
        yield lambda what, done, total: None
    elif sys.stderr.isatty():
        with _progress_bars() as bars:
            yield _Phases(name, bars)
    else:
        yield _PhaseLines(name)


def time_table(seconds: Mapping[str, float]) -> tuple[str, ...]:
    """Where the time went, in aligned lines; parts of a kind (`steps/forward`) stand below it with what is left."""
    kinds = [kind for kind in seconds if "/" not in kind]
    rows = [row for kind in kinds for row in _rows(kind, seconds)]
    total = sum(seconds[kind] for kind in kinds)
    width = max([len("where the time went"), *(len(label) for label, _ in rows)])
    lines = [f"{label:<{width}}{own:>9.1f} s{own / max(total, 1e-9):>7.1%}" for label, own in rows]
    return (f"{'where the time went':<{width}}{total:>9.1f} s", *lines)


def _rows(kind: str, seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    parts = {name.partition("/")[2]: own for name, own in seconds.items() if name.startswith(f"{kind}/")}
    if parts:
        parts["the rest"] = max(0.0, seconds[kind] - sum(parts.values()))
    return [(f"  {kind}", seconds[kind]), *((f"    {part}", own) for part, own in parts.items())]


# --- without a terminal ---


class _Lines:
    """The first step, then one every two seconds, and the last; every report of monitoring."""

    def __init__(self, name: str, n_steps: int):
        self.name, self.n_steps, self.last_s = name, n_steps, 0.0

    def __call__(self, report: StepReport | MonitoringReport) -> None:
        if isinstance(report, MonitoringReport):
            if report.losses:
                _print_line(f"{self.name}: step {report.step}, {_held_out_text(report)}")
            return
        now_s = time.monotonic()
        if now_s - self.last_s >= LINE_EVERY_S or report.step == self.n_steps:
            self.last_s = now_s
            _print_line(f"{self.name}: step {report.step} of {self.n_steps}, {_step_text(report)}")


class _PhaseLines:
    """A line at the start of each part, and one every two seconds."""

    def __init__(self, name: str):
        self.name, self.what, self.last_s = name, "", 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now_s = time.monotonic()
        if what != self.what or now_s - self.last_s >= LINE_EVERY_S:
            self.what, self.last_s = what, now_s
            _print_line(f"{self.name}: {what}" + (f", {done} of {total}" if total > 1 else ""))


def _print_line(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _held_out_text(report: MonitoringReport) -> str:
    text = f"held-out loss {report.loss:.4f}"
    if not report.before or report.step == 0:
        return text
    low, high = (choose(report.relative.items(), key=lambda pair: pair[1]) for choose in (min, max))
    span = f"{low[1]:.1%} at t {low[0]} to {high[1]:.1%} at t {high[0]}"
    return f"{text}, {report.relative_loss:.1%} of step 0's ({span})"


# --- on a terminal ---


@contextmanager
def _live(name: str, n_steps: int) -> Iterator[OnReport]:
    """A bar with a line of numbers below it; held-out losses stay above as a growing table."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.padding import Padding
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    numbers = Progress(TextColumn("{task.description}", style="dim"))
    below = Padding(numbers, (0, 0, 0, 2))
    task, numbers_task = progress.add_task(name, total=n_steps), numbers.add_task("")
    console = Console(stderr=True)
    table = _HeldOutTable(console.width)

    def show(report: StepReport | MonitoringReport) -> None:
        if isinstance(report, MonitoringReport):
            for line in table.lines(report):
                console.print(line, highlight=False, soft_wrap=True)
        else:
            progress.update(task, completed=report.step)
            numbers.update(numbers_task, description=_step_text(report))

    with Live(Group(progress, below), console=console, transient=True, refresh_per_second=5):
        yield show


class _HeldOutTable:
    """One line for each report with held-out losses, and a heading before the first one."""

    def __init__(self, width: int) -> None:
        self.has_heading = False
        self.n_timesteps = max(1, min(MAX_TIMESTEPS, (width - len(_row("", "", []))) // CELL_WIDTH))

    def lines(self, report: MonitoringReport) -> list[str]:
        if not report.losses:
            return []
        timesteps = _evenly_spaced(list(report.losses), self.n_timesteps)
        heading = [] if self.has_heading else [_row("held-out loss", "mean", [f"t {t}" for t in timesteps])]
        self.has_heading = True
        if report.step == 0 or not report.before:
            cells = [f"{report.losses[t]:.4f}" for t in timesteps]
            return [*heading, _row(f"step {report.step}", f"{report.loss:.4f}", cells)]
        cells = [f"{report.relative[t]:.1%}" for t in timesteps]
        return [*heading, _row(f"step {report.step}", f"{report.relative_loss:.1%}", cells)]


def _row(label: str, mean: str, cells: list[str]) -> str:
    return f"{label:<14}{mean:>8}  " + "".join(f"{cell:>{CELL_WIDTH}}" for cell in cells)


def _evenly_spaced(items: list[int], n: int) -> list[int]:
    """At most n of the items, at equal distances."""
    return items[:: -(-len(items) // max(1, n))]


def _progress_bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


class _Phases:
    """One bar for each part of the preparation."""

    def __init__(self, name: str, bars: Progress):
        self.name, self.bars = name, bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(f"{self.name}: {what}", total=total)
        self.bars.update(self.tasks[what], completed=done, total=total)


# --- numbers ---


def _step_text(report: StepReport) -> str:
    parts = [f"loss {report.loss:.4f}", f"{report.images_per_second:.1f} images/s", f"{report.seconds:.3f} s a step"]
    if report.memory_mb:
        parts.append(_memory(report.memory_mb))
    return ", ".join([*parts, f"gradient {report.gradient_norm:.2f}"])


def _memory(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
