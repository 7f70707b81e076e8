"""A training beside busy processes: seconds a step with the command line's way of waiting, and with libgomp's own.

The quiet steps are taken at real-time priority where that is allowed (Linux, as root), so that little else runs
meanwhile. Those beside busy processes are for a machine without other work, which would count as one more. Each busy
process has a session of its own, as one from another terminal has.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import psutil

from benchmarks.claims import Claim
from benchmarks.interleaved import PausedProcess, ratio
from benchmarks.project import ROOT
from benchmarks.training_runs import TrainingSetting
from benchmarks.worker import worker_command, worker_environment
from pipeline.__main__ import THREAD_WAITING

SETTING = TrainingSetting("sd", ROOT / "pipeline/assets/tiny", 64, {"method": "lora"})
ROUNDS, STEPS, WARM_UP = 6, 4, 3
OURS, LIBGOMPS = "as the command line sets it", "libgomp's own"
AT_MOST = {1: 4.0, 2: 8.0}  # times a quiet step, beside so many busy processes


def measure(folder: Path) -> list[Claim]:
    seconds = seconds_per_step(folder)
    quiet = seconds[OURS, 0]
    claims = [
        Claim("a step on a quiet machine", median(quiet), "s"),
        Claim(
            "a step on a quiet machine, of libgomp's own waiting", ratio(quiet, seconds[LIBGOMPS, 0]), "x", at_most=1.05
        ),
    ]
    for n_busy, most in AT_MOST.items():
        beside = f"a step beside {n_busy} busy process{'es' if n_busy > 1 else ''}, of a quiet one"
        claims.append(Claim(beside, ratio(seconds[OURS, n_busy], quiet), "x", at_most=most))
    return claims


def seconds_per_step(folder: Path) -> dict[tuple[str, int], list[float]]:
    """Of every round, by the way of waiting and the number of busy processes; libgomp's own is measured quiet only."""
    environment = {
        name: value for name, value in worker_environment("cpu").items() if not name.startswith(("OMP_", "GOMP_"))
    }
    found: dict[tuple[str, int], list[float]] = {}
    with ExitStack() as stack:
        trainings = {}
        for name, variables in ((OURS, THREAD_WAITING), (LIBGOMPS, {})):
            command = worker_command("unlimited_training", SETTING, folder / str(len(trainings)), "cpu", "no")
            trainings[name] = stack.enter_context(PausedProcess(command, environment | variables))
            trainings[name].advance(WARM_UP)
        for _ in range(ROUNDS):
            for name, training in trainings.items():
                with real_time_priority(training.process.pid):
                    found.setdefault((name, 0), []).append(training.advance(STEPS))
            for n_busy in AT_MOST:
                with busy_processes(n_busy):
                    found.setdefault((OURS, n_busy), []).append(trainings[OURS].advance(STEPS))
    return found


@contextmanager
def real_time_priority(pid: int) -> Iterator[None]:
    """For every thread of a process, where the system allows it."""
    try:
        _schedule(pid, os.SCHED_RR, 1)
    except (PermissionError, AttributeError):  # AttributeError: macOS
        yield
        return
    try:
        yield
    finally:
        _schedule(pid, os.SCHED_OTHER, 0)


def _schedule(pid: int, policy: int, priority: int) -> None:
    for thread in psutil.Process(pid).threads():
        os.sched_setscheduler(thread.id, policy, os.sched_param(priority))


@contextmanager
def busy_processes(n: int) -> Iterator[None]:
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command, env=dict(os.environ), start_new_session=True) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
