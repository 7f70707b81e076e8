"""Progress for people: a bar on a terminal, plain lines where output goes to a file or a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Item = TypeVar("Item")
PLAIN_LINES = 4  # in a log: at a quarter, a half, three quarters and the end
MANY = 20  # fewer items than this need no line in a log


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items and show how far along they are, on standard error.

    `total` may be left out where `items` has a length; without either, a log shows only the count at the end.
    """
    total = len(items) if total is None and hasattr(items, "__len__") else total
    return _bar(items, description, total) if sys.stderr.isatty() else _lines(items, description, total)


def _bar(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, description=description, total=total, console=Console(stderr=True), transient=True)


def _lines(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    marks = {max(1, total * part // PLAIN_LINES) for part in range(1, PLAIN_LINES + 1)} if total else set()
    count = 0
    for count, item in enumerate(items, start=1):
        yield item
        if count in marks and total >= MANY:
            print(f"{description}: {count} of {total}", file=sys.stderr, flush=True)
    if count >= MANY and not total:
        print(f"{description}: {count}", file=sys.stderr, flush=True)


class Board:
    """One bar per name, each with words of its own; in a log a plain line whenever a quarter more is done."""

    def __init__(self) -> None:
        self._live = _live() if sys.stderr.isatty() else None
        self._tasks: dict[str, TaskID] = {}
        self._quarters: dict[str, int] = {}

    def __enter__(self) -> Board:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, name: str, done: int, total: int | None, words: str) -> None:
        """`total` None: nobody knows yet how many there will be."""
        if self._live:
            if name not in self._tasks:
                self._tasks[name] = self._live.add_task(name, total=None, words="")
            self._live.update(self._tasks[name], completed=done, total=total, words=words)
        elif total and total >= MANY and (quarter := PLAIN_LINES * done // total) > self._quarters.get(name, 0):
            self._quarters[name] = quarter
            print(f"{name}: {done} of {total}, {words}", file=sys.stderr, flush=True)


def _live() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[words]}"),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5)
