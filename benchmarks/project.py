"""A fresh clone of the committed project, and commands run in it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Run:
    seconds: float
    peak_bytes: int
    output: str


def clone(folder: Path) -> Path:
    """Clone HEAD into `folder`/project; what is not committed is not measured."""
    target = folder / "project"
    if not target.exists():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)
    return target


def paleo(project: Path, *arguments: str) -> Run:
    """Run `paleo` in a clone; RuntimeError with its last lines when it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command(*arguments),
        cwd=project,
        env=environment(project),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    peak = _PeakMemory(process.pid)
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"paleo {' '.join(arguments)} failed:\n{output[-3000:]}")
    return Run(time.perf_counter() - started, peak.stop(), output)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline", *arguments]


def environment(project: Path) -> dict[str, str]:
    """The clone's own code, also when the installed package is another checkout."""
    return {**os.environ, "PYTHONPATH": str(project)}


class _PeakMemory:
    """The peak of the resident memory of a process and all its children, by sampling."""

    def __init__(self, pid: int, interval_seconds: float = 0.25) -> None:
        self._process, self._interval, self._peak_bytes = psutil.Process(pid), interval_seconds, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._peak_bytes

    def _watch(self) -> None:
        while not self._done.wait(self._interval):
            self._peak_bytes = max(self._peak_bytes, self._resident_bytes())

    def _resident_bytes(self) -> int:
        total = 0
        try:
            for process in [self._process, *self._process.children(recursive=True)]:
                total += process.memory_info().rss
        except psutil.NoSuchProcess:  # a child ended between listing and reading
            pass
        return total
