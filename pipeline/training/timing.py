"""Step timer: where the time of a training goes, in seconds by kind of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch

STEP_START = ""  # a mark that ends no part of a step


class StepTimer:
    """Adds up seconds by kind of work; parts of a kind have a slash: `steps/forward`.

    `clock` gives seconds. `marks` says how the parts of a step are measured: by the clock ("cpu"); on a GPU, which runs
    behind the CPU, by events in its stream ("cuda"), so that nothing waits; with "" they are not.
    """

    def __init__(self, clock: Callable[[], float], marks: str = ""):
        self.clock, self.marks = clock, marks
        self.seconds: dict[str, float] = {}
        self._last_mark_s = 0.0
        self._events: list[tuple[str, torch.cuda.Event]] = []

    def add(self, kind: str, seconds: float) -> None:
        self.seconds[kind] = self.seconds.get(kind, 0.0) + seconds

    @contextmanager
    def measure(self, kind: str) -> Iterator[None]:
        """Counts the time while it is open, also when it fails."""
        begin_s = self.clock()
        try:
            yield
        finally:
            self.add(kind, self.clock() - begin_s)

    def timed_progress(
        self, kind: str, on_progress: Callable[[str, int, int], None]
    ) -> Callable[[str, int, int], None]:
        """`on_progress(what, done, total)`; the time since the call before counts as `kind/what`."""
        last_s = self.clock()

        def timed(what: str, done: int, total: int) -> None:
            nonlocal last_s
            now_s = self.clock()
            self.add(f"{kind}/{what}", now_s - last_s)
            last_s = now_s
            on_progress(what, done, total)

        return timed

    def start_step(self) -> None:
        """The time before it belongs to no part of a step."""
        self.mark(STEP_START)

    def mark(self, part: str) -> None:
        """The time since the last mark belongs to this part."""
        if self.marks == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._events.append((part, event))
        elif self.marks:
            now_s = self.clock()
            if part:
                self.add(part, now_s - self._last_mark_s)
            self._last_mark_s = now_s

    def read_gpu_events(self) -> None:
        """Add up the events so far; the GPU must be synchronised."""
        for (_, before), (part, after) in pairwise(self._events):
            if part:
                self.add(part, before.elapsed_time(after) / 1000)
        self._events.clear()
