"""Connections to hosts: each host has as many lines as it allows, and a line serves one request at a time.

A line keeps its connection open for the next request. Lines are numbered, and each has a lock file, so that several
processes together ask a host no more at once than one alone would. With a pool of its own per line no thread can close
a connection that another one is about to use, and two threads never wait for one pool's lock.
"""

from __future__ import annotations

import fcntl
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpcore

from pipeline.core.lineage import digest_bytes
from pipeline.io.web.download_limits import DownloadLimits
from pipeline.io.web.rate_limits import kept_in
from pipeline.io.web.ssrf_guard import GuardedNetworkBackend, tls

IDLE_SECONDS = 15.0  # then an open connection is not trusted any more
WARM_HOSTS = 16  # of so many hosts the connections stay open


class PooledConnection:
    """One connection, at most, to one host."""

    def __init__(self, door: GuardedNetworkBackend, lock: Path, context) -> None:
        self._door = door
        self._lock = lock.open("wb")
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, max_connections=1, keepalive_expiry=IDLE_SECONDS, network_backend=door
        )

    @contextmanager
    def taken(self) -> Iterator[PooledConnection]:
        """No other process has this line meanwhile; a process that dies gives it back."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield self
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def send(self, request: httpcore.Request, allowance: DownloadLimits) -> httpcore.Response:
        """The head of the answer; its body is read, and must be closed, by the caller.

        Raises
        ------
        Refused
            When the guard or the allowance says no.
        httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError
            When the connection fails.
        """
        self._door.allowance = allowance
        return self._pool.handle_request(request)

    def close(self) -> None:
        self._pool.close()
        self._lock.close()


@dataclass
class _Home:
    free: queue.LifoQueue  # the line that was used last first: its connection is open
    users: int = 0


class ConnectionPool:
    """The lines of all hosts; threads may share them. `connections` says how many a host has."""

    def __init__(
        self, folder: Path, connections: Callable[[str], int], door: Callable[[], GuardedNetworkBackend], *, tls: bool
    ) -> None:
        self._folder, self._connections, self._door, self._tls = folder, connections, door, tls
        self._homes: OrderedDict[str, _Home] = OrderedDict()
        self._guard = threading.Lock()
        with kept_in(folder):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def to(self, host: str) -> Iterator[PooledConnection]:
        """A line to this host, as soon as one is free."""
        home = self._enter(host)
        try:
            line = home.free.get()
            try:
                with line.taken():
                    yield line
            finally:
                home.free.put(line)
        finally:
            with self._guard:
                home.users -= 1

    def close(self) -> None:
        for home in self._homes.values():
            _hang_up(home)

    def _enter(self, host: str) -> _Home:
        with self._guard:
            home = self._homes.get(host) or self._new(host)
            self._homes.move_to_end(host)
            home.users += 1
            if len(self._homes) > WARM_HOSTS:
                self._forget_one()
            return home

    def _new(self, host: str) -> _Home:
        home = self._homes[host] = _Home(queue.LifoQueue())
        name = digest_bytes(host.encode())[:16]
        with kept_in(self._folder):
            for number in range(self._connections(host)):
                lock = self._folder / f"{name}.{number}"
                home.free.put(PooledConnection(self._door(), lock, tls() if self._tls else None))
        return home

    def _forget_one(self) -> None:
        """Hang up on the host that nobody asked for longest."""
        for host, home in self._homes.items():
            if not home.users:
                _hang_up(self._homes.pop(host))
                return


def _hang_up(home: _Home) -> None:
    while not home.free.empty():
        home.free.get_nowait().close()
