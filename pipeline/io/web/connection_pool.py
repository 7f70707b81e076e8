"""Connection pool: each host has as many connections as it allows, and one serves one request at a time.

A connection stays open for the next request. Connections are numbered, and each has a lock file, so that several
processes together open no more to a host than one alone would. With an httpcore pool of its own per connection no
thread can close one that another is about to use, and two threads never wait for one pool's lock.
"""

from __future__ import annotations

import fcntl
import queue
import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpcore

from pipeline.core.lineage import digest_bytes
from pipeline.io.web.download_limits import DownloadLimits
from pipeline.io.web.rate_limits import cache_errors
from pipeline.io.web.ssrf_guard import GuardedNetworkBackend, tls_context

IDLE_SECONDS = 15.0  # an open connection that was idle for longer may have been closed by the server
OPEN_HOSTS = 16  # of so many hosts the connections stay open


class PooledConnection:
    """At most one open connection to one host."""

    def __init__(self, backend: GuardedNetworkBackend, lock: Path, context: ssl.SSLContext | None) -> None:
        self._backend = backend
        self._lock = lock.open("wb")
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, max_connections=1, keepalive_expiry=IDLE_SECONDS, network_backend=backend
        )

    @contextmanager
    def locked(self) -> Iterator[PooledConnection]:
        """No other process uses this number meanwhile; a process that dies releases it."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield self
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def send(self, request: httpcore.Request, limits: DownloadLimits) -> httpcore.Response:
        """The head of the response; its body is read, and must be closed, by the caller.

        Raises
        ------
        FetchError
            From the guard or the limits.
        httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError
            When the connection fails.
        """
        self._backend.limits = limits
        return self._pool.handle_request(request)

    def close(self) -> None:
        self._pool.close()
        self._lock.close()


@dataclass
class _HostPool:
    free: queue.LifoQueue[PooledConnection] = field(default_factory=queue.LifoQueue)  # the last used first: it is open
    users: int = 0

    def close(self) -> None:
        while not self.free.empty():
            self.free.get_nowait().close()


class ConnectionPool:
    """The connections to all hosts; threads may share it. `connections` is how many a host allows."""

    def __init__(
        self,
        folder: Path,
        connections: Callable[[str], int],
        backend: Callable[[], GuardedNetworkBackend],
        *,
        tls: bool,
    ) -> None:
        self._folder, self._connections, self._backend, self._tls = folder, connections, backend, tls
        self._hosts: OrderedDict[str, _HostPool] = OrderedDict()
        self._lock = threading.Lock()
        with cache_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def connection(self, host: str) -> Iterator[PooledConnection]:
        """A connection to this host, as soon as one is free."""
        pool = self._acquire(host)
        try:
            connection = pool.free.get()
            try:
                with connection.locked():
                    yield connection
            finally:
                pool.free.put(connection)
        finally:
            with self._lock:
                pool.users -= 1

    def close(self) -> None:
        for pool in self._hosts.values():
            pool.close()

    def _acquire(self, host: str) -> _HostPool:
        with self._lock:
            pool = self._hosts.get(host) or self._open(host)
            self._hosts.move_to_end(host)
            pool.users += 1
            if len(self._hosts) > OPEN_HOSTS:
                self._close_least_recent()
            return pool

    def _open(self, host: str) -> _HostPool:
        pool = self._hosts[host] = _HostPool()
        name = digest_bytes(host.encode())[:16]
        with cache_errors(self._folder):
            for number in range(self._connections(host)):
                lock = self._folder / f"{name}.{number}"
                pool.free.put(PooledConnection(self._backend(), lock, tls_context() if self._tls else None))
        return pool

    def _close_least_recent(self) -> None:
        for host, pool in self._hosts.items():
            if not pool.users:
                self._hosts.pop(host).close()
                return
