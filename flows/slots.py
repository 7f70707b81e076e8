"""Who may run now: at most as many children as cores; a training has a GPU for itself, or else every core.

GPUs are leased by flock, so a crash frees them, and another project on the same machine respects them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import IO

from flows import procs

GPU_KINDS = ("train", "sample")  # the stages worth a GPU of their own
POLL_SECONDS = 0.2


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_children = threading.BoundedSemaphore(cores())
_training = threading.BoundedSemaphore(1)


@contextmanager
def slot(kind: str) -> Iterator[dict[str, str]]:
    """Wait until a stage of this kind may run; gives the environment that goes with its place."""
    wanted = min(gpus_wanted(kind), len(available_gpus()))
    with ExitStack() as held:
        more = {}
        if wanted:
            leased = held.enter_context(lease(wanted, available_gpus(), _lock_folder()))
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
        procs.pause(POLL_SECONDS)
    try:
        yield
    finally:
        semaphore.release()


@cache
def available_gpus() -> list[str]:
    """The ids that CUDA_VISIBLE_DEVICES or the driver names; none without NVIDIA's driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True)
    return done.stdout.split() if done.returncode == 0 else []


def gpus_wanted(kind: str) -> int:
    """For training as many as accelerate's config starts processes (none if it says so); else one or none."""
    if kind != "train":
        return int(kind in GPU_KINDS)
    from ruamel.yaml import YAML

    file = Path(os.environ.get("PALEO_ACCELERATE_CONFIG", "infra/accelerate/cpu.yaml"))
    config = (YAML(typ="safe").load(file.read_text(encoding="utf-8")) if file.is_file() else None) or {}
    if config.get("use_cpu"):
        return 0
    return max(1, int(config.get("num_processes") or 1) // int(config.get("num_machines") or 1))


def _lock_folder() -> Path:
    """One a machine and user: the GPUs are the same whatever the project."""
    folder = Path(tempfile.gettempdir()) / f"paleo-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def lease(number: int, ids: list[str], folder: Path) -> Iterator[list[str]]:
    """`number` of the GPUs, all or none (two jobs that want two each cannot wait for each other)."""
    held: dict[str, IO[str]] = {}
    try:
        while not (held := _take(number, ids, folder)):
            procs.pause(POLL_SECONDS)
        yield list(held)
    finally:
        for stream in held.values():
            stream.close()


def _take(number: int, ids: list[str], folder: Path) -> dict[str, IO[str]]:
    taken: dict[str, IO[str]] = {}
    with (folder / "gate.lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        for name in ids:
            stream = (folder / f"gpu-{name}.lock").open("w")
            if len(taken) < number and _locks(stream):
                taken[name] = stream
            else:
                stream.close()
    if len(taken) == number:
        return taken
    for stream in taken.values():
        stream.close()
    return {}


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
