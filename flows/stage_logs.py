"""What a stage prints: everything into a file, and as much into the task's log as a person can follow."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import IO

BURST_LINES = 40  # a short stage is shown whole
SECONDS_A_LINE = 1.0  # then so often; 20 000 lines cost Prefect half a minute and 17 MB
URGENT_LINES = 100  # warnings and errors come through a flood
SECONDS_A_TICK = 10.0  # a progress bar redraws itself many times a second
TAIL_LINES = 12

_URGENT = re.compile(r"\b(warn(ing)?|error|failed|fatal|traceback)\b", re.IGNORECASE)
# DVC's advice for people at a terminal, and its note about the locks of a killed run
_ADVICE = re.compile(
    r"^(To track the changes with git|To enable auto staging|Use `dvc push`|\s*(git add|dvc config core\.autostage)\b"
    r"|.*in RWLock-file .* had been killed|Verifying data sources in stage)|^\s*$"
)
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def lines(stream: IO[bytes]) -> Iterator[tuple[str, bool]]:
    """Lines as they come, and whether each is a tick (ended by a carriage return, as progress bars do)."""
    rest = b""
    while chunk := stream.read1(65536):  # type: ignore[attr-defined]
        *whole, rest = re.split(rb"(\r\n|\n|\r)", rest + chunk)
        for text, end in zip(whole[::2], whole[1::2], strict=True):
            yield _clean(text), end == b"\r"
    if rest:
        yield _clean(rest), False


def _clean(text: bytes) -> str:
    return _COLOUR.sub("", text.decode("utf-8", errors="replace")).rstrip()


class Log:
    """Takes the lines of one stage: the file gets all of them, `show` a readable share."""

    def __init__(self, path: Path, show: Callable[[str], None]) -> None:
        self.path = path
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._show = show
        self._credit = float(BURST_LINES)
        self._urgent_left = URGENT_LINES
        self._last_line = self._last_tick = monotonic()
        self._hidden: deque[str] = deque(maxlen=3)
        self._n_hidden = 0

    def follow(self, stream: IO[bytes]) -> Iterator[str]:
        """Every line that is no tick, after it was written and perhaps shown."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            for line, is_tick in lines(stream):
                if is_tick:
                    self._tick(line)
                    continue
                file.write(line + "\n")
                file.flush()
                if not _ADVICE.match(line):
                    self._take(line)
                    yield line
        self._close()

    def _take(self, line: str) -> None:
        self.tail.append(line)
        now = monotonic()
        self._credit = min(BURST_LINES, self._credit + (now - self._last_line) / SECONDS_A_LINE)
        self._last_line = now
        if self._credit >= 1:
            self._credit -= 1
            self._show(line)
        elif self._urgent_left and _URGENT.search(line):
            self._urgent_left -= 1
            self._show(line)
        else:
            self._hidden.append(line)
            self._n_hidden += 1

    def _tick(self, line: str) -> None:
        if line and monotonic() - self._last_tick > SECONDS_A_TICK:
            self._last_tick = monotonic()
            self._show(line)

    def _close(self) -> None:
        """The last lines say how it ended: show them even if they came in a flood."""
        if self._n_hidden:
            self._show(f"… {self._n_hidden} lines only in {self.path}; the last ones:")
            for line in self._hidden:
                self._show(line)
