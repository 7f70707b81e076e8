"""A training that is killed again and again, for real; run as a program by test_kills.py.

`python -m tests.training.kills PROJECT …` prints JSON: for each project the result of an uninterrupted training, and of
trainings that were killed. Each run is a process of its own, forked when the base is loaded; a kill costs no
start of Python.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator

from pipeline.core.errors import Interrupted
from pipeline.core.paths import Paths
from pipeline.io.accelerator import stop_requests
from pipeline.train import _training_run
from pipeline.training.checkpoint import state, streaming
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.loop import Hooks, TrainingJob, train_to_end
from pipeline.training.task import prepare
from tests.training import world

STOPPED = 75


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# --- moments at which a process kills itself, each at its n-th call ---


def in_a_step(n: int) -> None:
    _before(TrainingJob, "loss", n)


def in_the_middle_of_a_state(n: int) -> None:
    contents, calls = streaming._contents, itertools.count(1)

    def some(*arguments):
        pieces = list(contents(*arguments))
        yield from pieces[: len(pieces) // 2] if (count := next(calls)) == n else pieces
        if count == n:
            die()

    streaming._contents = some


def before_a_state_has_its_name(n: int) -> None:
    _before(state.os, "replace", n, only=".state-")


def before_older_states_are_removed(n: int) -> None:
    _before(CheckpointStore, "_rotate", n)


def in_the_middle_of_a_snapshot(n: int) -> None:
    digest, calls = state.digest_tree, itertools.count(1)

    def half(folder: Path) -> str:
        if next(calls) == n:
            largest = max(folder.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
            os.truncate(largest, largest.stat().st_size // 2)
            die()
        return digest(folder)

    state.digest_tree = half


def before_a_snapshot_has_its_place(n: int) -> None:
    _before(state.os, "replace", n, only=".step-")


def _before(owner: object, name: str, n: int, only: str = "") -> None:
    original, calls = getattr(owner, name), itertools.count(1)

    def wrapped(*arguments, **named):
        if only in str(arguments[0]) and next(calls) == n:
            die()
        return original(*arguments, **named)

    setattr(owner, name, wrapped)


MOMENTS = [
    in_the_middle_of_a_state,
    before_a_state_has_its_name,
    before_older_states_are_removed,
    in_the_middle_of_a_snapshot,
    before_a_snapshot_has_its_place,
]


# --- runs ---


class Trained:
    """One training in a folder of its own, as often as it takes."""

    def __init__(self, job: TrainingJob, folder: Path):
        self.job, self.store, self.ends = job, CheckpointStore(folder, "x"), []

    def start(self, prepare_kill: Callable[[], None] = lambda: None, after: tuple[float, int] | None = None) -> int:
        """Run one process, which gets a signal `after` so many seconds; returns its exit code."""
        child = os.fork()
        if not child:
            self._child(prepare_kill)
        if after:
            time.sleep(after[0])
            os.kill(child, after[1])  # until it is waited for, its number is its own
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self.ends.append(code)
        return code

    def _child(self, prepare_kill: Callable[[], None]) -> None:
        code = 1
        try:
            with stop_requests() as should_stop:
                prepare_kill()
                hooks = Hooks(lambda _: None, lambda _: None, should_stop, time.monotonic)
                history = train_to_end(self.job, Accelerator(cpu=True), self.store, hooks).history
            (self.store.folder / "history.json").write_text(json.dumps(history))
            code = 0
        except Interrupted:
            code = STOPPED
        except Exception:
            traceback.print_exc()
            raise
        finally:
            os._exit(code)

    def result(self) -> dict[str, object]:
        files = sorted(path for path in self.store.snapshots.rglob("*") if path.is_file())
        digests = {str(path.relative_to(self.store.snapshots)): _digest(path) for path in files}
        hidden = [path.name for path in self.store.folder.rglob(".*")]
        return {"files": digests, "history": (self.store.folder / "history.json").read_text(), "hidden": hidden}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def at_every_moment(job: TrainingJob, folder: Path) -> Trained:
    trained = Trained(job, folder)
    for moment in MOMENTS:
        for n in (1, 2):
            trained.start(partial(moment, n))
    trained.start()
    return trained


def at_random(job: TrainingJob, folder: Path, seconds: float) -> Trained:
    """Killed or stopped at random moments, within the `seconds` of an uninterrupted run."""
    trained, chance = Trained(job, folder), random.Random(0)
    while len(trained.ends) < 8:
        kind = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        if trained.start(after=(chance.uniform(0.2, 0.6) * seconds, kind)) == 0:
            if any(trained.ends):
                return trained
            trained.store.clear()  # the machine has become faster: no process was killed
            trained.ends.clear()
            seconds /= 2
    trained.start()
    return trained


def outcome(root: Path) -> dict[str, dict[str, object]]:
    paths = Paths(root, world.SPECIES)
    job = prepare(_training_run(world.load(paths), paths), Accelerator(cpu=True), root / "cache")
    straight, start_s = Trained(job, root / "straight"), time.monotonic()
    straight.start()
    seconds = time.monotonic() - start_s
    trained = {
        "straight": straight,
        "at moments": at_every_moment(job, root / "moments"),
        "at random": at_random(job, root / "random", seconds),
    }
    return {name: {**each.result(), "ends": each.ends} for name, each in trained.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)  # a process with more cannot be forked
    print(json.dumps([outcome(Path(root)) for root in sys.argv[1:]]))
