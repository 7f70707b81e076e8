"""Where the time of a training goes, in seconds by kind of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch

BEGIN = ""


class StepTimer:
    """Counts seconds; `clock` is handed from outside. Parts of a kind have a slash: `steps/forward`.

    `marks` says how parts of a step are told apart: by the clock ("cpu"), or on a GPU, which works while the CPU is
    ahead of it, by events in its stream ("cuda"), so that nobody waits; with "" they are not.
    """

    def __init__(self, clock: Callable[[], float], marks: str = ""):
        self.clock, self.marks = clock, marks
        self.seconds: dict[str, float] = {}
        self._last = 0.0
        self._events: list[tuple[str, torch.cuda.Event]] = []

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

    def telling(self, kind: str, tell: Callable[[str, int, int], None]) -> Callable[[str, int, int], None]:
        """`tell(what, done, total)`, which counts the time between two words for what the second one tells of."""
        last = [self.clock()]

        def told(what: str, done: int, total: int) -> None:
            now = self.clock()
            self.add(f"{kind}/{what}", now - last[0])
            last[0] = now
            tell(what, done, total)

        return told

    def begin(self) -> None:
        """What was before belongs to no part of a step."""
        self.mark(BEGIN)

    def mark(self, part: str) -> None:
        """The time since the last mark belongs to this part."""
        if self.marks == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._events.append((part, event))
        elif self.marks:
            now = self.clock()
            if part:
                self.add(part, now - self._last)
            self._last = now

    def read(self) -> None:
        """Count the events of a GPU that has been waited for."""
        for (_, before), (part, after) in pairwise(self._events):
            if part:
                self.add(part, before.elapsed_time(after) / 1000)
        self._events.clear()
