"""Child processes that can be stopped together: a module of its own, because Prefect pickles flow modules by value.

A stage is a tree (dvc -> shell -> accelerate -> python). dvc dies of SIGTERM at once without telling its child, and
Prefect cannot interrupt a task's thread, so a stop goes to every process group, and the *group* is waited for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep

import psutil

from flows.errors import Stopped

GRACE_SECONDS = 120  # an agent of torchrun gives its ranks 110 s to save: see dvc.yaml
KILL_SECONDS = 5

_live: set[subprocess.Popen[bytes]] = set()
_stop = threading.Event()
_lock = threading.Lock()


def reset() -> None:
    """Forget an earlier stop: for a second flow in the same process."""
    _stop.clear()


def stopping() -> bool:
    return _stop.is_set()


def pause(seconds: float) -> None:
    """Sleep, but wake at once for a stop, which is raised."""
    if _stop.wait(seconds):
        raise Stopped("stopped before it began")


@contextmanager
def started(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child in its own session, stdout and stderr in one pipe."""
    with _lock:  # asked again here: a task that waited for a free core may wake after the stop
        if _stop.is_set():
            raise Stopped("stopped before it began")
        child = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _live.add(child)
    try:
        yield child
        child.wait()
    finally:
        _forget(child)


def _forget(child: subprocess.Popen[bytes]) -> None:
    """Leave nobody behind of a child that is done or given up; after a stop `stop_all` sees to that."""
    if not _stop.is_set() and group_alive(child.pid):
        end([child])
    child.wait()
    with _lock:
        if not group_alive(child.pid):
            _live.discard(child)


def group_alive(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):  # gone, or its number belongs to somebody else by now
        return False
    return any(_works(pid) for pid in psutil.pids() if _group(pid) == leader)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _works(pid: int) -> bool:
    """No zombie: where this process is a container's first one, nobody reaps the orphans of its children."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop_all(grace: float = GRACE_SECONDS) -> None:
    """Ask every child to save and end, wait for their groups, then kill; a second Ctrl-C kills at once."""
    with _lock:
        _stop.set()
        children = list(_live)
    end(children, grace)
    with _lock:
        _live.difference_update(children)


def end(children: list[subprocess.Popen[bytes]], grace: float = GRACE_SECONDS) -> None:
    """SIGTERM to the groups of these children, wait, then SIGKILL to what is left."""
    try:
        _signal(children, signal.SIGTERM, grace)
    except BaseException:  # the second Ctrl-C or SIGTERM
        _signal(children, signal.SIGKILL, KILL_SECONDS)
        raise
    _signal(children, signal.SIGKILL, KILL_SECONDS)


def _signal(children: list[subprocess.Popen[bytes]], number: signal.Signals, wait: float) -> None:
    alive = [child for child in children if group_alive(child.pid)]
    for child in alive:
        _kill_group(child.pid, number)
    end = monotonic() + wait
    while alive and monotonic() < end:
        for child in alive:
            child.poll()  # reap it, or its group looks alive
        alive = [child for child in alive if group_alive(child.pid)]
        sleep(0.05)


def _kill_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, number)
