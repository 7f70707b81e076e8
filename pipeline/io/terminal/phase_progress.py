"""Progress of work in several phases: bars on a terminal, plain lines elsewhere, seconds that outlive a kill."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core import stored_json
from pipeline.core.verbosity import is_quiet
from pipeline.io.files import atomic_write

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_INTERVAL_S = 15.0
SAVE_INTERVAL_S = 5.0  # how often the seconds are written to disk
MAX_STEP_S = 60.0  # a longer time between two reports is a suspended process, not work

OnProgress = Callable[[str, int, int, Mapping[str, float]], None]  # phase, step, of steps, values


@dataclass
class PhaseTimer:
    """Seconds spent in each phase, over all the runs that it took; each phase has a file of its own."""

    files: Mapping[str, Path]
    seconds: dict[str, float] = field(default_factory=dict)
    _last_s: float = field(default_factory=time.monotonic)
    _saved_s: float = 0.0

    def __post_init__(self) -> None:
        for phase, file in self.files.items():
            if file.is_file():
                self.seconds[phase] = stored_json.read(file, {"seconds": (int, float)})["seconds"]

    def add_to(self, phase: str) -> None:
        """Count the time since the last call for this phase."""
        now_s = time.monotonic()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + min(now_s - self._last_s, MAX_STEP_S)
        self._last_s = now_s
        if now_s - self._saved_s > SAVE_INTERVAL_S:
            self.save()

    def save(self) -> None:
        self._saved_s = time.monotonic()
        for phase, seconds in self.seconds.items():
            atomic_write.write_json(self.files[phase], {"seconds": seconds})


@contextmanager
def progress_display() -> Iterator[OnProgress]:
    """A function (phase, step, steps, values) that shows how far each phase is."""
    if is_quiet():
        yield lambda phase, step, steps, values: None
        return
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


def _bars(bars: Progress) -> OnProgress:
    tasks: dict[str, TaskID] = {}

    def on_progress(phase: str, step: int, steps: int, values: Mapping[str, float]) -> None:
        if phase not in tasks:
            tasks[phase] = bars.add_task(phase, total=steps, values="")
        bars.update(tasks[phase], completed=step, values=_text(values))

    return on_progress


def _lines() -> OnProgress:
    printed_s: dict[str, float] = {}

    def on_progress(phase: str, step: int, steps: int, values: Mapping[str, float]) -> None:
        now_s = time.monotonic()
        if step == steps or now_s - printed_s.get(phase, -LINE_INTERVAL_S) >= LINE_INTERVAL_S:
            printed_s[phase] = now_s
            print(f"{phase}: {step} of {steps} {_text(values)}".rstrip(), file=sys.stderr, flush=True)

    return on_progress


def _text(values: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in values.items())
