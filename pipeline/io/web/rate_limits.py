"""When a host may be asked: its rate, its requests per day, and for how long it wants to be left alone.

All this is kept in one SQLite file, so that every process of the project shares it and a restart forgets nothing. Each
asker reserves the next free moment of a host in one transaction (50 µs) and sleeps until then.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.params import Collect, Host
from pipeline.io.web.fetch_errors import FetchError

SCHEMA = """
CREATE TABLE IF NOT EXISTS turns (host TEXT PRIMARY KEY, next REAL, quiet_until REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS used (day TEXT, host TEXT, requests INTEGER, PRIMARY KEY (day, host)) WITHOUT ROWID;
"""
TURN = "SELECT next, quiet_until FROM turns WHERE host = ?"
TAKE_TURN = "INSERT INTO turns VALUES (?, ?, 0) ON CONFLICT (host) DO UPDATE SET next = excluded.next"
HOLD = """INSERT INTO turns VALUES (?, 0, ?)
          ON CONFLICT (host) DO UPDATE SET quiet_until = max(quiet_until, excluded.quiet_until)"""
USED = "SELECT requests FROM used WHERE day = ? AND host = ?"
USE = "INSERT INTO used VALUES (?, ?, 1) ON CONFLICT (day, host) DO UPDATE SET requests = requests + 1"
PATIENCE_SECONDS = 300.0  # a host that wants to be left alone for longer is not waited for
LONGEST_SECONDS = 86_400.0  # what a Retry-After can say; more is a mistake
BUSY_SECONDS = 60  # for other processes that reserve a turn
QUEUE_SECONDS = 600.0  # turns further ahead than this come from a clock that was set back


def retry_after(value: str, now: float) -> float | None:
    """Seconds to wait by a Retry-After header, which is a number of them or a date; None when it is neither."""
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]*)?", value.strip()):
        return min(float(value), LONGEST_SECONDS)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max(date.timestamp() - now, 0.0), LONGEST_SECONDS)


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Turn what the disk or SQLite refuses into one sentence."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"the cache folder {folder} cannot be used ({reason}); free space, make it writable, or delete it "
            "(what was collected stays)"
        ) from error


class RateLimits:
    """The shared ledger; threads may share it. `now` is seconds since 1970, `sleep` waits."""

    def __init__(
        self, collect: Collect, folder: Path, now: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._collect, self._folder, self.now, self._sleep = collect, folder, now, sleep
        self._lock = threading.Lock()
        with kept_in(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                folder / "manners.sqlite", BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = OFF")  # survives a kill; a power cut may lose the last turns
            self._db.executescript(SCHEMA)

    def close(self) -> None:
        self._db.close()

    def rule(self, host: str) -> Host:
        return self._collect.hosts.get(host, self._collect.hosts["default"])

    def await_turn(self, host: str) -> None:
        """Sleep until the host may be asked once more, and count it.

        Raises
        ------
        Refused
            budget_used_up: not today, or not for a good while.
        """
        wait = self._reserve(host)
        if wait > 0:
            self._sleep(wait)

    def hold(self, host: str, seconds: float) -> None:
        """Nobody asks this host before so many seconds have passed."""
        with self._transaction() as db:
            db.execute(HOLD, (host, self.now() + seconds))

    def budget_left(self, host: str) -> int | None:
        """Requests that are left today (UTC); None when the host sets no number."""
        budget = self.rule(host).requests_per_day
        if budget is None:
            return None
        with self._transaction() as db:
            return max(budget - self._used(db, host), 0)

    def _reserve(self, host: str) -> float:
        rule = self.rule(host)
        with self._transaction() as db:
            now = self.now()
            following, quiet_until = db.execute(TURN, (host,)).fetchone() or (0.0, 0.0)
            self._demand_welcome(db, host, rule, quiet_until)
            following = 0.0 if following > now + QUEUE_SECONDS else following
            moment = max(now, following, quiet_until)
            db.execute(TAKE_TURN, (host, moment + 1 / rule.requests_per_second))
            if rule.requests_per_day is not None:
                db.execute(USE, (self._today(), host))
        return moment - now

    def _demand_welcome(self, db: sqlite3.Connection, host: str, rule: Host, quiet_until: float) -> None:
        if quiet_until - self.now() > PATIENCE_SECONDS:
            until = datetime.fromtimestamp(quiet_until, UTC).strftime("%Y-%m-%d %H:%M UTC")
            raise FetchError("budget_used_up", f"{host} wants to be left alone until {until}; run this again then")
        if rule.requests_per_day is not None and self._used(db, host) >= rule.requests_per_day:
            raise FetchError(
                "budget_used_up",
                f"today's {rule.requests_per_day} requests to {host} are used up (collect.hosts in params.yaml); "
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
        with self._lock, kept_in(self._folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            finally:
                self._db.execute("COMMIT" if self._db.in_transaction else "SELECT 1")
