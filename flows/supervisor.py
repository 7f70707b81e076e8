"""Runs a command and ends it when the process that started it is gone: `python supervisor.py PIPE GRACE COMMAND …`.

The starting process alone holds the other end of PIPE, a file descriptor; the kernel closes it when that process dies,
whatever it dies of. Then the process group of this program (the command and what it started) gets SIGTERM, and after
GRACE seconds SIGKILL. The same happens to what a command that has ended leaves behind. Signals are meant for the whole
group: this program itself only counts them. What the command prints while it saves is read here then: a print to a
pipe that nobody reads is an error, by which it would end before it has saved. It is run by its path, outside the
package: it starts in front of every stage.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

POLL_SECONDS = 0.05
PR_SET_CHILD_SUBREAPER = 36
STDOUT = 1


def main(pipe: int, grace_seconds: float, command: list[str]) -> int:
    """The exit code of the command, 128 + the signal's number where a signal ended it."""
    stops: list[int] = []
    wake_up = _catch_signals(stops)
    _adopt_orphans()
    output = _reader_of_stdout()
    child = subprocess.Popen(command)
    while child.poll() is None and not stops:
        ready, _, _ = select.select([pipe, wake_up], [], [])
        if pipe in ready:
            break
        os.read(wake_up, 512)
    for _ in end_group(child, grace_seconds, signalled=bool(stops)):
        if output is not None and select.select([pipe], [], [], 0)[0]:
            _discard(output)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _catch_signals(stops: list[int]) -> int:
    """Record the stop signals, which a command started later gets as by default; a descriptor that each one wakes."""
    wake_up, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: stops.append(received))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return wake_up


def _adopt_orphans() -> None:
    """Linux: grandchildren whose parent dies become children of this process, also those in sessions of their own."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def _reader_of_stdout() -> int | None:
    """Linux: a reading end of the pipe that stdout is, beside that of the starting process."""
    if sys.platform == "linux" and stat.S_ISFIFO(os.fstat(STDOUT).st_mode):
        return os.open(f"/proc/self/fd/{STDOUT}", os.O_RDONLY | os.O_NONBLOCK)
    return None


def _discard(output: int) -> None:
    with suppress(BlockingIOError):
        while os.read(output, 65536):
            pass


def end_group(child: subprocess.Popen[bytes], grace_seconds: float, *, signalled: bool) -> Iterator[None]:
    """SIGTERM unless the group was signalled, wait until it is empty, then SIGKILL to what is left; a step a wait."""
    left = others(child)
    if left and not signalled:
        os.killpg(0, signal.SIGTERM)
    end = time.monotonic() + grace_seconds
    while left and time.monotonic() < end:
        yield
        time.sleep(POLL_SECONDS)
        left = others(child)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def others(child: subprocess.Popen[bytes]) -> set[int]:
    """The processes of this group and the descendants of this process that still run."""
    if child.poll() is not None:  # before that, reaping could take the child's exit code
        _reap()
    own = psutil.Process()
    found = {process.pid for process in own.children(recursive=True)}
    found |= {pid for pid in psutil.pids() if _group(pid) == own.pid}
    return {pid for pid in found - {own.pid} if _is_running(pid)}


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
