"""Progress for people: a bar on a terminal, plain lines where output goes to a file or a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

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
