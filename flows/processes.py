"""Child processes that can be stopped together. A module of its own, because Prefect pickles flow modules by value.

A stage is a tree (dvc -> shell -> accelerate -> python). dvc exits on SIGTERM at once and does not pass it on, and
Prefect cannot interrupt a task's thread, so a stop goes to every process group, and the *group* is waited for. In front
of each tree stands `supervisor`, which ends it when this process dies without having stopped it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil

from flows.errors import Stopped

GRACE_SECONDS = 120  # torchrun's agent gives its ranks 110 s to save: see pipeline/io/launcher.py
KILL_SECONDS = 5
SUPERVISOR = Path(__file__).with_name("supervisor.py")

_live: set[subprocess.Popen[bytes]] = set()
_stop = threading.Event()
_lock = threading.Lock()
_alive, _open_while_alive = os.pipe()  # no child inherits the second one, so it closes when this process dies
_kept_open = [_alive]


def reset() -> None:
    """Clear an earlier stop: for a second flow in the same process."""
    _stop.clear()


def stopping() -> bool:
    return _stop.is_set()


def pause(seconds: float) -> None:
    """Sleep; a stop ends the sleep at once and is raised as `Stopped`."""
    if _stop.wait(seconds):
        raise Stopped("stopped before it started")


@contextmanager
def keep_open(file: int) -> Iterator[None]:
    """Supervisors started meanwhile hold this descriptor: a lock on it lasts until the last of them has ended."""
    _kept_open.append(file)
    try:
        yield
    finally:
        _kept_open.remove(file)


def popen(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """A child in a session of its own that is stopped when this process dies, whatever kills it: see `supervisor`."""
    supervisor = [sys.executable, "-P", str(SUPERVISOR), str(_alive), str(GRACE_SECONDS)]
    files = tuple(_kept_open)
    return subprocess.Popen(
        [*supervisor, *command], stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=files, **options
    )


@contextmanager
def started(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child in its own session, stdout and stderr in one pipe."""
    with _lock:  # checked here: a task that waited for a free core may wake after the stop
        if _stop.is_set():
            raise Stopped("stopped before it started")
        child = popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        _live.add(child)
    try:
        yield child
        child.wait()
    finally:
        _clean_up(child)


def _clean_up(child: subprocess.Popen[bytes]) -> None:
    """End what is left of the group of a finished or abandoned child; after a stop `stop_all` does that."""
    if not _stop.is_set() and group_alive(child.pid):
        terminate([child])
    child.wait()
    with _lock:
        if not group_alive(child.pid):
            _live.discard(child)


def group_alive(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):  # gone, or its number belongs to another user's process by now
        return False
    return any(is_running(pid) for pid in psutil.pids() if _group(pid) == leader)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def is_running(pid: int) -> bool:
    """False for a zombie: where this process is a container's first one, orphans of its children are never reaped."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def stop_all(grace: float = GRACE_SECONDS) -> None:
    """SIGTERM to every child, so that it saves; wait for their groups, then kill; a second Ctrl-C kills at once."""
    with _lock:
        _stop.set()
        children = list(_live)
    terminate(children, grace)
    with _lock:
        _live.difference_update(children)


def terminate(children: list[subprocess.Popen[bytes]], grace: float = GRACE_SECONDS) -> None:
    """SIGTERM to the groups of these children, wait, then SIGKILL to what is left."""
    try:
        _signal_and_wait(children, signal.SIGTERM, grace)
    except BaseException:  # the second Ctrl-C or SIGTERM
        _signal_and_wait(children, signal.SIGKILL, KILL_SECONDS)
        raise
    _signal_and_wait(children, signal.SIGKILL, KILL_SECONDS)


def _signal_and_wait(children: list[subprocess.Popen[bytes]], number: signal.Signals, seconds: float) -> None:
    alive = [child for child in children if group_alive(child.pid)]
    for child in alive:
        _kill_group(child.pid, number)
    end = monotonic() + seconds
    while alive and monotonic() < end:
        for child in alive:
            child.poll()  # reap it, or its group looks alive
        alive = [child for child in alive if group_alive(child.pid)]
        sleep(0.05)


def _kill_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, number)
