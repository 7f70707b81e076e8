"""Where the time of a training goes, in seconds by kind of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Spent:
    """Counts seconds; `clock` is handed from outside."""

    def __init__(self, clock: Callable[[], float]):
        self.clock = clock
        self.seconds: dict[str, float] = {}

    def add(self, what: str, seconds: float) -> None:
        self.seconds[what] = self.seconds.get(what, 0.0) + seconds

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """The time while it is open."""
        begun = self.clock()
        try:
            yield
        finally:
            self.add(what, self.clock() - begun)
