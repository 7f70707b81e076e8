"""Progress bars on a terminal, plain lines where output goes to a file or a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, TypeVar

from pipeline.core.verbosity import is_quiet

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Item = TypeVar("Item")
LOG_LINES = 4  # in a log: at a quarter, a half, three quarters and the end
MIN_ITEMS = 20  # for fewer, a log gets no line


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items and show how far along they are, on standard error.

    `total` may be left out where `items` has a length; without either, a log shows only the count at the end.
    """
    if is_quiet():
        return iter(items)
    total = len(items) if total is None and isinstance(items, Sized) else total
    return _bar(items, description, total) if sys.stderr.isatty() else _lines(items, description, total)


def _bar(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, description=description, total=total, console=Console(stderr=True), transient=True)


def _lines(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    logged_counts = {max(1, total * part // LOG_LINES) for part in range(1, LOG_LINES + 1)} if total else set()
    count = 0
    for count, item in enumerate(items, start=1):
        yield item
        if total and count in logged_counts and total >= MIN_ITEMS:
            print(f"{description}: {count} of {total}", file=sys.stderr, flush=True)
    if count >= MIN_ITEMS and not total:
        print(f"{description}: {count}", file=sys.stderr, flush=True)


class Board:
    """One bar per name, each with a status text; in a log a plain line whenever another quarter is done."""

    def __init__(self) -> None:
        self._bars = _bars() if sys.stderr.isatty() and not is_quiet() else None
        self._tasks: dict[str, TaskID] = {}
        self._quarters: dict[str, int] = {}

    def __enter__(self) -> Board:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def show(self, name: str, done: int, total: int | None, status: str) -> None:
        """`total` None: it is not known yet."""
        if is_quiet():
            return
        if self._bars:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=None, status="")
            self._bars.update(self._tasks[name], completed=done, total=total, status=status)
        elif total and total >= MIN_ITEMS and (quarter := LOG_LINES * done // total) > self._quarters.get(name, 0):
            self._quarters[name] = quarter
            print(f"{name}: {done} of {total}, {status}", file=sys.stderr, flush=True)


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[status]}"),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5)
