"""A training's numbers for people: a bar on a terminal, a plain line every two seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.core.records import StepReport

LINE_EVERY_S = 2.0


@contextmanager
def shown(name: str, n_steps: int, *, main_process: bool = True) -> Iterator[Callable[[StepReport], None]]:
    """While it is open: a function that is told every step and shows some, on standard error."""
    if not main_process:
        yield lambda report: None
    elif sys.stderr.isatty():
        with _bar(name, n_steps) as tell:
            yield tell
    else:
        yield _Lines(name, n_steps)


class _Lines:
    """The first step, then one every two seconds, and the last."""

    def __init__(self, name: str, n_steps: int):
        self.name, self.n_steps, self.last_s = name, n_steps, 0.0

    def __call__(self, report: StepReport) -> None:
        now_s = time.monotonic()
        if now_s - self.last_s >= LINE_EVERY_S or report.step == self.n_steps:
            self.last_s = now_s
            print(f"{self.name}: step {report.step} of {self.n_steps}, {_numbers(report)}", file=sys.stderr, flush=True)


@contextmanager
def _bar(name: str, n_steps: int) -> Iterator[Callable[[StepReport], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    numbers = TextColumn("{task.fields[numbers]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), numbers, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=n_steps, numbers="")
        yield lambda report: progress.update(task, completed=report.step, numbers=_numbers(report))


def _numbers(report: StepReport) -> str:
    return f"loss {report.loss:.4f}, {report.images_per_second:.1f} images/s"
