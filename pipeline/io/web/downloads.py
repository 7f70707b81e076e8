"""Downloaded files by address: a content store and its index under `.work/downloads/`.

A file is on disk before the index names it, so a run that is killed at any moment finds everything that it had and
downloads nothing twice. What was refused is remembered within a crawl session only: the next one tries again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import astuple
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_bytes
from pipeline.core.records import Rejection, StoredFile
from pipeline.io.files.atomic_write import write_bytes

# File, tables and columns have the names of version 0.1.0, whose downloads stay usable; `look` is the crawl session.
SCHEMA = """
CREATE TABLE IF NOT EXISTS stored
    (url TEXT PRIMARY KEY, sha256 TEXT, bytes INTEGER, final_url TEXT, content_type TEXT);
CREATE TABLE IF NOT EXISTS refused
    (look TEXT, url TEXT, stage TEXT, code TEXT, sentence TEXT, PRIMARY KEY (look, url));
"""
STORED = "SELECT sha256, bytes, final_url, content_type FROM stored WHERE url = ?"
REFUSED = "SELECT stage, code, sentence FROM refused WHERE look = ? AND url = ?"
STORED_TYPES = [str, int, str, str]
BUSY_SECONDS = 60  # for another species that writes at the same time


class DownloadStore:
    """The store, with the refusals of one crawl session; threads may share it."""

    def __init__(self, folder: Path, session: str) -> None:
        self._folder, self._session, self._lock = folder, session, threading.Lock()
        with self._usable():
            folder.mkdir(parents=True, exist_ok=True)
            self._index = sqlite3.connect(folder / "index.sqlite", BUSY_SECONDS, check_same_thread=False)
            self._index.execute("PRAGMA journal_mode=WAL")
            self._index.execute("PRAGMA synchronous=NORMAL")
            self._index.executescript(SCHEMA)

    def __enter__(self) -> DownloadStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._index.close()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Turn the errors of the disk and of SQLite into one sentence."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"the downloads under {self._folder} cannot be kept ({error}); delete that folder"
            ) from error

    def find(self, url: str) -> StoredFile | Rejection | None:
        """The file of an address, why there is none in this session, or None when it was not tried yet."""
        with self._lock, self._usable():
            row = self._index.execute(STORED, (url,)).fetchone()
            if row and [type(value) for value in row] == STORED_TYPES and self.path(row[0]).is_file():
                return StoredFile(*row)
            row = self._index.execute(REFUSED, (self._session, url)).fetchone()
            return Rejection(*row) if row and all(isinstance(value, str) for value in row) else None

    def keep(self, url: str, content: bytes, final_url: str, content_type: str) -> StoredFile:
        stored = StoredFile(digest_bytes(content), len(content), final_url, content_type)
        if not self.path(stored.sha256).is_file():
            write_bytes(self.path(stored.sha256), content)
        with self._lock, self._usable(), self._index:
            self._index.execute("INSERT OR REPLACE INTO stored VALUES (?, ?, ?, ?, ?)", (url, *astuple(stored)))
        return stored

    def refuse(self, url: str, refused: Rejection) -> None:
        row = (self._session, url, refused.check, refused.code, refused.sentence)
        with self._lock, self._usable(), self._index:
            self._index.execute("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)", row)

    def forget_refusals(self) -> None:
        """At the end of a session."""
        with self._lock, self._usable(), self._index:
            self._index.execute("DELETE FROM refused WHERE look = ?", (self._session,))

    def content(self, sha256: str) -> bytes | None:
        """The file's bytes; None when the store lost or damaged it, which removes it."""
        path = self.path(sha256)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        if digest_bytes(content) == sha256:
            return content
        path.unlink()
        return None

    def path(self, sha256: str) -> Path:
        return self._folder / "content" / sha256[:2] / sha256


def download_by_host(
    urls: Iterable[str], connections: Callable[[str], int], download: Callable[[str], None]
) -> Iterator[str]:
    """Run `download(url)` for every address, with threads of its own for each host: a slow one delays no other.

    Yields each address when it is done, and raises what its download raised. When the caller stops, what has not begun
    is not begun, and what is under way is not waited for: it may hang on a slow server for minutes.
    """
    hosts: dict[str, list[str]] = defaultdict(list)
    for url in urls:
        hosts[urlsplit(url).hostname or ""].append(url)
    with ExitStack() as stack:
        futures: dict[Future[None], str] = {}
        for host, of_host in hosts.items():
            pool = ThreadPoolExecutor(min(len(of_host), connections(host)), thread_name_prefix=f"download-{host}")
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            futures |= {pool.submit(download, url): url for url in of_host}
        for future in as_completed(futures):
            future.result()
            yield futures[future]
