"""Trainings in processes of their own that take turns: while one runs, the others are stopped (SIGSTOP).

Each is asked for ENDLESS steps, writes `3/1000000 [` somewhere in its output when it has taken three, as tqdm does, and
is killed when it has taken enough. What neighbours do to the machine hits all of them alike, and starting up is in no
one's time.
"""

from __future__ import annotations

import os
import re
import select
import signal
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

ENDLESS = 1_000_000
PROGRESS = re.compile(rb"(\d+)/1000000 \[")
SILENCE_SECONDS = 300
TAIL_BYTES = 4000


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds of `size` steps each, after `warm_up` steps that do not count."""

    rounds: int
    size: int
    warm_up: int = 0


def seconds_per_step(
    commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], effort: Effort
) -> dict[str, list[float]]:
    """For each command the seconds a step of every round; in a round each has its turn."""
    with ExitStack() as stack:
        runners = {name: stack.enter_context(Runner(words, environment)) for name, words in commands.items()}
        for runner in runners.values():
            runner.advance(effort.warm_up)
        found: dict[str, list[float]] = {name: [] for name in runners}
        for _ in range(effort.rounds):
            for name, runner in runners.items():
                found[name].append(runner.advance(effort.size))
    return found


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """The median of the rounds' own ratios."""
    return statistics.median(one / other for one, other in zip(slow, fast, strict=True))


class Runner:
    """A process that is stopped whenever it is not its turn, and killed at the end."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]):
        self.placeholder_tokens, self.step, self.tail = words, 0, b""
        self.process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.kill(self.process.pid, signal.SIGSTOP)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def advance(self, steps: int) -> float:
        """Let it take some more steps; returns the seconds of one.

        Raises
        ------
        RuntimeError
            With its last words, when it ends before, or says nothing for minutes.
        """
        before, begun = self.step, time.perf_counter()
        os.kill(self.process.pid, signal.SIGCONT)
        while self.step < before + steps:
            self._read()
        os.kill(self.process.pid, signal.SIGSTOP)
        return (time.perf_counter() - begun) / (self.step - before)

    def _read(self) -> None:
        stream = self.process.stdout.fileno()
        heard = select.select([stream], [], [], SILENCE_SECONDS)[0]
        data = os.read(stream, 65536) if heard else b""
        if not data:
            raise RuntimeError(
                f"{' '.join(self.placeholder_tokens)} took no step:\n{self.tail.decode(errors='replace')}"
            )
        self.tail = (self.tail + data)[-TAIL_BYTES:]
        self.step = max([self.step, *(int(found) for found in PROGRESS.findall(self.tail))])
