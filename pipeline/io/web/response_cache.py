"""Response cache: what web APIs sent, byte for byte, as evidence for licences and for reuse within a crawl session."""

from __future__ import annotations

import gzip
import sqlite3
import threading
import zlib
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pipeline.core import strict_json
from pipeline.core.errors import InputError, ServiceError
from pipeline.core.lineage import digest_bytes, digest_json
from pipeline.core.records import Request
from pipeline.io.files.atomic_write import write_bytes
from pipeline.io.web.rate_limits import BUSY_SECONDS, cache_errors

# File, table and columns have the names of version 0.1.0, whose cache stays usable; `look` is the crawl session.
FILE = "answers.sqlite"
SCHEMA = """CREATE TABLE IF NOT EXISTS answers
    (question TEXT PRIMARY KEY, look TEXT, sha256 TEXT, url TEXT, etag TEXT, modified TEXT) WITHOUT ROWID"""
SELECT = "SELECT look, sha256, url, etag, modified FROM answers WHERE question = ?"
EXCERPT_CHARACTERS = 60  # of a response, in a message


@dataclass(frozen=True)
class CachedResponse:
    """A stored response: its crawl session, the sha256 of its body, and the validators for a conditional request."""

    session: str
    sha256: str
    url: str
    etag: str = ""
    modified: str = ""


class ResponseCache:
    """The cache under `folder`; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        with cache_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(folder / FILE, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(SCHEMA)

    def close(self) -> None:
        self._db.close()

    def get(self, request: Request) -> CachedResponse | None:
        """The last response, if its body is still here."""
        with self._lock, cache_errors(self._folder):
            row = self._db.execute(SELECT, (_key(request),)).fetchone()
        if row and not all(isinstance(value, str) for value in row):
            row = None  # damaged
        return CachedResponse(*row) if row and self._read(row[1]) is not None else None

    def put(self, request: Request, cached: CachedResponse) -> None:
        with self._lock, cache_errors(self._folder):
            values = (_key(request), *astuple(cached))
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", values)

    def put_body(self, body: bytes) -> str:
        """Store a body under its sha256, which is returned."""
        sha256 = digest_bytes(body)
        if not self._path(sha256).is_file():
            with cache_errors(self._folder):
                write_bytes(self._path(sha256), gzip.compress(body, 6, mtime=0))
        return sha256

    def body(self, sha256: str) -> bytes:
        """The bytes of a response, as they came.

        Raises
        ------
        InputError
            When they are lost or damaged.
        """
        body = self._read(sha256)
        if body is None:
            raise InputError(
                f"the response {sha256[:12]}… is missing under {self._folder}; run this again to request it"
            )
        return body

    def _read(self, sha256: str) -> bytes | None:
        try:
            body = gzip.decompress(self._path(sha256).read_bytes())
        except FileNotFoundError:
            return None
        except (EOFError, gzip.BadGzipFile, zlib.error):
            body = b""
        if digest_bytes(body) == sha256:
            return body
        self._path(sha256).unlink()
        return None

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / f"{sha256}.gz"


def full_url(request: Request) -> str:
    """The URL with the whole query; a key may stand in it several times."""
    joint = "&" if "?" in request.url else "?"
    return f"{request.url}{joint}{urlencode(request.query)}" if request.query else request.url


def parse_json(body: bytes, host: str) -> Any:
    """The JSON of a response.

    Raises
    ------
    ServiceError
        One sentence saying what came instead.
    """
    if not body.strip():
        raise ServiceError(f"{host} sent nothing where JSON was expected")
    try:
        return strict_json.parse(body)
    except ValueError as error:
        raise ServiceError(f"{host} sent {_kind(body)} ({error}): {_excerpt(body)!r}") from None


def _kind(body: bytes) -> str:
    start = body.lstrip()[:1]
    if start == b"<":
        return "a web page instead of JSON"
    return "damaged or incomplete JSON" if start in (b"{", b"[") else "something that is not JSON"


def _excerpt(body: bytes) -> str:
    text = " ".join(body[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "replace").split())
    return text[:EXCERPT_CHARACTERS] + "…" * (len(text) > EXCERPT_CHARACTERS)


def _key(request: Request) -> str:
    """Without `authorization`, which is another one every time."""
    return digest_json(["GET", request.url, sorted(request.query), request.accept])
