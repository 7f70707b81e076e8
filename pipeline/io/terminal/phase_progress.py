"""Progress of work in several phases: bars on a terminal, plain lines elsewhere, seconds that outlive a kill."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.io.files import atomic_write

LINE_EVERY_S = 15.0
NOTE_EVERY_S = 5.0  # how often the seconds are written down
PAUSE_S = 60.0  # a longer silence between two reports is somebody's break, not work

Show = Callable[[str, int, int, Mapping[str, float]], None]


@dataclass
class Clock:
    """Seconds spent in each phase, over all the runs that it took; each phase has a file of its own."""

    files: Mapping[str, Path]
    seconds: dict[str, float] = field(default_factory=dict)
    _last_s: float = field(default_factory=time.monotonic)
    _noted_s: float = 0.0

    def __post_init__(self):
        for phase, file in self.files.items():
            if file.is_file():
                self.seconds[phase] = json.loads(file.read_text(encoding="utf-8"))["seconds"]

    def tick(self, phase: str) -> None:
        now_s = time.monotonic()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + min(now_s - self._last_s, PAUSE_S)
        self._last_s = now_s
        if now_s - self._noted_s > NOTE_EVERY_S:
            self.note()

    def note(self) -> None:
        self._noted_s = time.monotonic()
        for phase, spent in self.seconds.items():
            atomic_write.write_json(self.files[phase], {"seconds": spent})


@contextmanager
def show() -> Iterator[Show]:
    """A function (phase, step, steps, values) that shows how far each phase is."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[values]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield _bars(bars)


def _bars(bars) -> Show:
    tasks: dict[str, int] = {}

    def told(phase: str, step: int, steps: int, values: Mapping[str, float]) -> None:
        if phase not in tasks:
            tasks[phase] = bars.add_task(phase, total=steps, values="")
        bars.update(tasks[phase], completed=step, values=_text(values))

    return told


def _lines() -> Show:
    shown_s: dict[str, float] = {}

    def told(phase: str, step: int, steps: int, values: Mapping[str, float]) -> None:
        now_s = time.monotonic()
        if step == steps or now_s - shown_s.get(phase, -LINE_EVERY_S) >= LINE_EVERY_S:
            shown_s[phase] = now_s
            print(f"{phase}: {step} of {steps} {_text(values)}".rstrip(), file=sys.stderr, flush=True)

    return told


def _text(values: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in values.items())
