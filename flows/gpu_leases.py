"""GPU leases and core slots: which stages may run at the same time on this machine.

At most as many stages run as there are cores. A training has its GPUs for itself, or else every core. GPUs are leased
by flock, so that a crash frees them, and other projects and users of the machine respect them.
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
from flows.graph import Hardware

LOCKS = Path("/tmp/paleo-gpus")  # not $TMPDIR, which differs between users: the GPUs are the same for all
POLL_SECONDS = 0.2
Report = Callable[[str], None]


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_core_slots = threading.BoundedSemaphore(cores())
_all_cores = threading.BoundedSemaphore(1)


@contextmanager
def slot(needs: Hardware, report: Report = lambda line: None) -> Iterator[dict[str, str]]:
    """Wait until a stage with these needs may run; yields the environment variables that go with its slot."""
    number, candidates = gpus_wanted(needs)
    with ExitStack() as held:
        variables = {}
        if number:
            leased = held.enter_context(lease(number, candidates, _lock_folder(), report))
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(leased)
        on_every_core = needs == "accelerate" and not number
        if on_every_core:
            held.enter_context(_acquired(_all_cores))
        for _ in range(cores() if on_every_core else 1):
            held.enter_context(_acquired(_core_slots))
        yield variables


@contextmanager
def _acquired(semaphore: threading.Semaphore) -> Iterator[None]:
    while not semaphore.acquire(blocking=False):
        processes.pause(POLL_SECONDS)
    try:
        yield
    finally:
        semaphore.release()


def gpus_wanted(needs: Hardware) -> tuple[int, list[str]]:
    """How many GPUs a stage needs, and the ids among which they may be."""
    if needs == "accelerate":
        config = hardware.check()
        return config.gpus_per_machine, list(config.gpu_ids) or hardware.available()
    present = hardware.available()
    return int(needs == "gpu" and bool(present)), present


def _lock_folder() -> Path:
    with suppress(FileExistsError):
        LOCKS.mkdir()
        LOCKS.chmod(0o1777)  # as /tmp itself
    return LOCKS


@contextmanager
def lease(number: int, ids: Sequence[str], folder: Path, report: Report = lambda line: None) -> Iterator[list[str]]:
    """Wait for `number` of the GPUs, all or none: two jobs that need two each cannot block each other."""
    held = _try_lock(number, ids, folder)
    if not held:
        report(f"waiting for {number} of {len(ids)} GPUs; {_holders(ids, folder)}")
    try:
        while not held:
            processes.pause(POLL_SECONDS)
            held = _try_lock(number, ids, folder)
        yield list(held)
    finally:
        for stream in held.values():
            stream.close()


def _try_lock(number: int, ids: Sequence[str], folder: Path) -> dict[str, IO[str]]:
    """The open lock files of `number` GPUs by id; nothing where so many are not free."""
    locked: dict[str, IO[str]] = {}
    with _open_lock(folder / "gate.lock") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        for gpu in ids:
            stream = _open_lock(_lock_file(folder, gpu))
            if len(locked) < number and _flock(stream):
                locked[gpu] = stream
            else:
                stream.close()
        if len(locked) == number:
            for stream in locked.values():
                _write_holder(stream)
            return locked
    for stream in locked.values():
        stream.close()
    return {}


def _lock_file(folder: Path, gpu: str) -> Path:
    return folder / f"gpu-{hardware.lock_name(gpu)}.lock"


def _open_lock(path: Path) -> IO[str]:
    """Open for reading and writing, whichever user created it.

    In folders such as /tmp Linux refuses O_CREAT for a file that another user owns, so creating is a step of its own.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o666))
        path.chmod(0o666)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW), "r+")


def _write_holder(stream: IO[str]) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(f"process {os.getpid()} in {Path.cwd()}")
    stream.flush()


def _holders(ids: Sequence[str], folder: Path) -> str:
    """Which process holds which GPU now."""
    holders = []
    with _open_lock(folder / "gate.lock") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        for gpu in ids:
            with _open_lock(_lock_file(folder, gpu)) as stream:
                if not _flock(stream):
                    holders.append(f"{gpu} is held by {stream.read()}")
    return "GPU " + ", GPU ".join(holders) if holders else "they were just given back"


def _flock(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def thread_variables(needs: Hardware) -> dict[str, str]:
    """Training computes on every core; the other stages get one thread each.

    Threads of two processes on the same cores wait for each other at every barrier: side by side they take five times
    as long as one after the other.
    """
    unlimited = needs == "accelerate" or "OMP_NUM_THREADS" in os.environ
    return {} if unlimited else {"OMP_NUM_THREADS": "1"}
