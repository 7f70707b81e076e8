"""Rate limits per host: requests per second and per day, and the pauses that a host demands.

All this is kept in one SQLite file, so that every process of the project shares it and a restart forgets nothing. Each
request reserves the next free moment of its host in one transaction (50 µs) and sleeps until then.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

from pipeline.core.data_params import Host
from pipeline.core.errors import InputError
from pipeline.io.web.fetch_errors import FetchError

FILE = "manners.sqlite"  # the name that version 0.1.0 gave it: today's requests must not be forgotten
SCHEMA = """
CREATE TABLE IF NOT EXISTS turns (host TEXT PRIMARY KEY, next REAL, quiet_until REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS used (day TEXT, host TEXT, requests INTEGER, PRIMARY KEY (day, host)) WITHOUT ROWID;
"""
SLOT = "SELECT next, quiet_until FROM turns WHERE host = ?"
RESERVE = "INSERT INTO turns VALUES (?, ?, 0) ON CONFLICT (host) DO UPDATE SET next = excluded.next"
PAUSE = """INSERT INTO turns VALUES (?, 0, ?)
           ON CONFLICT (host) DO UPDATE SET quiet_until = max(quiet_until, excluded.quiet_until)"""
USED = "SELECT requests FROM used WHERE day = ? AND host = ?"
COUNT = "INSERT INTO used VALUES (?, ?, 1) ON CONFLICT (day, host) DO UPDATE SET requests = requests + 1"
LONGEST_PAUSE_SECONDS = 300.0  # a longer one is not waited for
LONGEST_RETRY_AFTER_SECONDS = 86_400.0  # more is a mistake of the server
BUSY_SECONDS = 60  # for other processes that reserve a slot
QUEUE_SECONDS = 600.0  # slots further ahead than this come from a clock that was set back


def retry_after(value: str, now: float) -> float | None:
    """Seconds to wait by a Retry-After header, which is a number of them or a date; None when it is neither."""
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]*)?", value.strip()):
        return min(float(value), LONGEST_RETRY_AFTER_SECONDS)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max(date.timestamp() - now, 0.0), LONGEST_RETRY_AFTER_SECONDS)


@contextmanager
def cache_errors(folder: Path) -> Iterator[None]:
    """Turn the errors of the disk and of SQLite into one sentence."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"the cache folder {folder} cannot be used ({reason}); free space, make it writable, or delete it "
            "(what was collected stays)"
        ) from error


class RateLimits:
    """The limits of all hosts (`default` for those without their own) and what was used of them.

    Threads may share it. `now` is seconds since 1970, `sleep` waits.
    """

    def __init__(
        self, hosts: Mapping[str, Host], folder: Path, now: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._hosts, self._folder, self.now, self._sleep = hosts, folder, now, sleep
        self._lock = threading.Lock()
        with cache_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(folder / FILE, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = OFF")  # survives a kill; a power cut may lose the last slots
            self._db.executescript(SCHEMA)

    def close(self) -> None:
        self._db.close()

    def of(self, host: str) -> Host:
        return self._hosts.get(host, self._hosts["default"])

    def wait(self, host: str) -> None:
        """Reserve the next slot of a host, count the request, and sleep until its time.

        Raises
        ------
        FetchError
            budget_used_up: not today, or not for a good while.
        """
        seconds = self._reserve(host)
        if seconds > 0:
            self._sleep(seconds)

    def pause(self, host: str, seconds: float) -> None:
        """No request to this host before so many seconds have passed."""
        with self._transaction() as db:
            db.execute(PAUSE, (host, self.now() + seconds))

    def budget_left(self, host: str) -> int | None:
        """Requests that are left today (UTC); None when the host has no daily budget."""
        budget = self.of(host).requests_per_day
        if budget is None:
            return None
        with self._transaction() as db:
            return max(budget - self._used(db, host), 0)

    def _reserve(self, host: str) -> float:
        limits = self.of(host)
        with self._transaction() as db:
            now = self.now()
            following, paused_until = db.execute(SLOT, (host,)).fetchone() or (0.0, 0.0)
            self._check_budget(db, host, limits, paused_until)
            following = 0.0 if following > now + QUEUE_SECONDS else following
            moment = float(max(now, following, paused_until))
            db.execute(RESERVE, (host, moment + 1 / limits.requests_per_second))
            if limits.requests_per_day is not None:
                db.execute(COUNT, (self._today(), host))
        return moment - now

    def _check_budget(self, db: sqlite3.Connection, host: str, limits: Host, paused_until: float) -> None:
        if paused_until - self.now() > LONGEST_PAUSE_SECONDS:
            until = datetime.fromtimestamp(paused_until, UTC).strftime("%Y-%m-%d %H:%M UTC")
            raise FetchError("budget_used_up", f"{host} allows no request until {until}; run this again then")
        if limits.requests_per_day is not None and self._used(db, host) >= limits.requests_per_day:
            raise FetchError(
                "budget_used_up",
                f"today's {limits.requests_per_day} requests to {host} are used up (collect.hosts in params.yaml); "
                f"run this again after {self._tomorrow()}",
            )

    def _used(self, db: sqlite3.Connection, host: str) -> int:
        row = db.execute(USED, (self._today(), host)).fetchone()
        return row[0] if row else 0

    def _today(self) -> str:
        return datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%d")

    def _tomorrow(self) -> str:
        return (datetime.fromtimestamp(self.now(), UTC) + timedelta(days=1)).strftime("%Y-%m-%d 00:00 UTC")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, cache_errors(self._folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            finally:
                self._db.execute("COMMIT" if self._db.in_transaction else "SELECT 1")
