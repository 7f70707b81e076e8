"""Interleaved timing of trainings: each in a process of its own, and while one runs, the others are stopped (SIGSTOP).

Each is started with UNLIMITED_STEPS steps, prints `3/1000000 [` when it has taken three, as tqdm does, and is killed
when it has taken enough. What else happens on the machine slows all of them alike, and start-up is not counted.
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

UNLIMITED_STEPS = 1_000_000
PROGRESS = re.compile(rb"(\d+)/1000000 \[")
SILENCE_SECONDS = 300
TAIL_BYTES = 4000


@dataclass(frozen=True)
class Rounds:
    """How long to measure: `rounds` of `steps` each, after `warm_up` steps that do not count."""

    rounds: int
    steps: int
    warm_up: int = 0


def seconds_per_step(
    commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], rounds: Rounds
) -> dict[str, list[float]]:
    """For each command the seconds a step of every round; in a round each runs once."""
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(PausedProcess(command, environment)) for name, command in commands.items()
        }
        for process in processes.values():
            process.advance(rounds.warm_up)
        seconds: dict[str, list[float]] = {name: [] for name in processes}
        for _ in range(rounds.rounds):
            for name, process in processes.items():
                seconds[name].append(process.advance(rounds.steps))
    return seconds


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """The median of the rounds' own ratios."""
    return statistics.median(one / other for one, other in zip(slow, fast, strict=True))


class PausedProcess:
    """A process that is stopped except while it advances, and killed at the end."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        self.command, self.step, self.tail = command, 0, b""
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.kill(self.process.pid, signal.SIGSTOP)

    def __enter__(self) -> PausedProcess:
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
            With the end of its output, when it ends before, or prints nothing for minutes.
        """
        before, started = self.step, time.perf_counter()
        os.kill(self.process.pid, signal.SIGCONT)
        while self.step < before + steps:
            self._read()
        os.kill(self.process.pid, signal.SIGSTOP)
        return (time.perf_counter() - started) / (self.step - before)

    def _read(self) -> None:
        stream = self.process.stdout.fileno()
        readable = select.select([stream], [], [], SILENCE_SECONDS)[0]
        data = os.read(stream, 65536) if readable else b""
        if not data:
            raise RuntimeError(f"{' '.join(self.command)} took no step:\n{self.tail.decode(errors='replace')}")
        self.tail = (self.tail + data)[-TAIL_BYTES:]
        self.step = max([self.step, *(int(number) for number in PROGRESS.findall(self.tail))])
