"""SIGTERM and SIGHUP as the KeyboardInterrupt that Ctrl-C raises; the same signal twice within a second counts once.

GNU `timeout` sends SIGTERM to its child and then to its whole group, so the child receives it twice; a session that
ends may send both signals.
"""

from __future__ import annotations

import signal
import threading
from time import monotonic
from types import FrameType

SAME_SECONDS = 1.0


class _Interrupt:
    """A signal handler."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        now = monotonic()
        if now - self._last >= SAME_SECONDS:
            self._last = now
            raise KeyboardInterrupt


_interrupt = _Interrupt()


def install() -> None:
    """In the main thread, which alone may; Prefect's own handler of SIGTERM, which counts every signal, is replaced."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
