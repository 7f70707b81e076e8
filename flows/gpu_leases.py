"""Who may run now: at most as many children as cores; a training has its GPUs for itself, or else every core.

GPUs are leased by flock, so a crash frees them, and other projects and users of the machine respect them.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from flows import hardware, processes

LOCKS = Path("/tmp/paleo-gpus")  # not $TMPDIR, which differs between users: the GPUs are the same for all
GPU_KINDS = ("sample",)  # stages that are faster on a GPU, if there is one
POLL_SECONDS = 0.2


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_children = threading.BoundedSemaphore(cores())
_training = threading.BoundedSemaphore(1)


@contextmanager
def slot(kind: str, show: Callable[[str], None] = lambda line: None) -> Iterator[dict[str, str]]:
    """Wait until a stage of this kind may run; gives the environment that goes with its place."""
    wanted, among = gpus_wanted(kind)
    with ExitStack() as held:
        more = {}
        if wanted:
            leased = held.enter_context(lease(wanted, among, _lock_folder(), show))
            more["CUDA_VISIBLE_DEVICES"] = ",".join(leased)
        on_every_core = kind == "train" and not wanted
        if on_every_core:
            held.enter_context(_acquired(_training))
        for _ in range(cores() if on_every_core else 1):
            held.enter_context(_acquired(_children))
        yield more


@contextmanager
def _acquired(semaphore: threading.Semaphore) -> Iterator[None]:
    while not semaphore.acquire(blocking=False):
        processes.pause(POLL_SECONDS)
    try:
        yield
    finally:
        semaphore.release()


def gpus_wanted(kind: str) -> tuple[int, list[str]]:
    """How many, and which would do: for training what accelerate's config says, else one if there is one."""
    if kind == "train":
        asked = hardware.check()
        return asked.gpus, list(asked.ids) or hardware.available()
    there = hardware.available()
    return int(kind in GPU_KINDS and bool(there)), there


def _lock_folder() -> Path:
    with suppress(FileExistsError):
        LOCKS.mkdir()
        LOCKS.chmod(0o1777)  # as /tmp itself
    return LOCKS


@contextmanager
def lease(
    number: int, ids: Sequence[str], folder: Path, show: Callable[[str], None] = lambda line: None
) -> Iterator[list[str]]:
    """`number` of the GPUs, all or none (two jobs that want two each cannot wait for each other)."""
    held, told = _take(number, ids, folder), False
    try:
        while not held:
            if not told:
                show(f"waiting for {number} of {len(ids)} GPUs; {_holders(ids, folder)}")
                told = True
            processes.pause(POLL_SECONDS)
            held = _take(number, ids, folder)
        yield list(held)
    finally:
        for stream in held.values():
            stream.close()


def _take(number: int, ids: Sequence[str], folder: Path) -> dict[str, IO[str]]:
    taken: dict[str, IO[str]] = {}
    with _opened(folder / "gate.lock") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        for name in ids:
            stream = _opened(_lock(folder, name))
            if len(taken) < number and _locks(stream):
                taken[name] = stream
            else:
                stream.close()
        if len(taken) == number:
            for stream in taken.values():
                _sign(stream)
            return taken
    for stream in taken.values():
        stream.close()
    return {}


def _lock(folder: Path, gpu: str) -> Path:
    return folder / f"gpu-{hardware.lock_name(gpu)}.lock"


def _opened(path: Path) -> IO[str]:
    """For reading and writing, whoever made it: in such folders Linux lets nobody *create* what another one has."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o666))
        path.chmod(0o666)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW), "r+")


def _sign(stream: IO[str]) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(f"process {os.getpid()} in {Path.cwd()}")
    stream.flush()


def _holders(ids: Sequence[str], folder: Path) -> str:
    """Who has which of them now."""
    told = []
    with _opened(folder / "gate.lock") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        for name in ids:
            with _opened(_lock(folder, name)) as stream:
                if not _locks(stream):
                    told.append(f"{name} is held by {stream.read()}")
    return "GPU " + ", GPU ".join(told) if told else "they were just given back"


def _locks(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def threads(kind: str) -> dict[str, str]:
    """Training has every core to itself; the others get one each.

    Threads of two processes on the same cores wait for each other at every barrier: side by side they take five times
    as long as one after the other.
    """
    alone = kind == "train" or "OMP_NUM_THREADS" in os.environ
    return {} if alone else {"OMP_NUM_THREADS": "1"}
