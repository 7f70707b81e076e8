"""The output of a stage: all of it goes into a log file, and as much into the task's log as a person can follow."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import IO

BURST_LINES = 40  # a short stage is shown whole
SECONDS_PER_LINE = 1.0  # after the burst; 20 000 lines cost Prefect half a minute and 17 MB
URGENT_LINES = 100  # warnings and errors are shown even then
SECONDS_PER_TICK = 10.0  # a progress bar redraws itself many times a second
TAIL_LINES = 12

Report = Callable[[str], None]
_URGENT = re.compile(r"\b(warn(ing)?|error|failed|fatal|traceback)\b", re.IGNORECASE)
# DVC's advice for people at a terminal, what it does with its own files, and its note about the locks of a killed run
_NOISE = re.compile(
    r"^(To track the changes with git|To enable auto staging|Use `dvc push`|\s*(git add|dvc config core\.autostage)\b"
    r"|(Generating|Updating) lock file|.*in RWLock-file .* had been killed|Verifying data sources in stage)|^\s*$"
)
_COMMAND = re.compile(r"^(Running stage '|> )")  # which stage it is stands beside every line that is shown
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def lines(stream: IO[bytes]) -> Iterator[tuple[str, bool]]:
    """Lines as they come, and whether each is a tick (ended by a carriage return, as progress bars do)."""
    rest = b""
    while chunk := stream.read1(65536):  # type: ignore[attr-defined]
        *complete, rest = re.split(rb"(\r\n|\n|\r)", rest + chunk)
        for text, end in zip(complete[::2], complete[1::2], strict=True):
            yield _clean(text), end == b"\r"
    if rest:
        yield _clean(rest), False


def _clean(text: bytes) -> str:
    return _COLOUR.sub("", text.decode("utf-8", errors="replace")).rstrip()


class StageLog:
    """Takes the lines of one stage: the file gets all but DVC's noise, `report` a readable share."""

    def __init__(self, path: Path, report: Report) -> None:
        self.path = path
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._report = report
        self._credit = float(BURST_LINES)
        self._urgent_left = URGENT_LINES
        self._last_line = self._last_tick = monotonic()
        self._hidden: deque[str] = deque(maxlen=3)
        self._n_hidden = 0

    def follow(self, stream: IO[bytes] | None) -> Iterator[str]:
        """Every line that is no tick, after it was written and perhaps reported."""
        assert stream is not None, "the child was started without a pipe"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            for line, is_tick in lines(stream):
                if is_tick:
                    self._tick(line)
                    continue
                if _NOISE.match(line):
                    continue
                file.write(line + "\n")
                file.flush()
                if not _COMMAND.match(line):
                    self._line(line)
                yield line
        self._report_end()

    def _line(self, line: str) -> None:
        self.tail.append(line)
        now = monotonic()
        self._credit = min(BURST_LINES, self._credit + (now - self._last_line) / SECONDS_PER_LINE)
        self._last_line = now
        if self._credit >= 1:
            self._credit -= 1
            self._report(line)
        elif self._urgent_left and _URGENT.search(line):
            self._urgent_left -= 1
            self._report(line)
        else:
            self._hidden.append(line)
            self._n_hidden += 1

    def _tick(self, line: str) -> None:
        if line and monotonic() - self._last_tick > SECONDS_PER_TICK:
            self._last_tick = monotonic()
            self._report(line)

    def _report_end(self) -> None:
        """The last lines say how it ended: report them even after a flood."""
        if self._n_hidden:
            self._report(f"… {self._n_hidden} lines only in {self.path}; the last ones:")
            for line in self._hidden:
                self._report(line)
