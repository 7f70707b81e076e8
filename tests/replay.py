"""A web server on loopback in place of every host: recorded responses, and servers that lie, drip, loop and explode.

    with replay({"api.gbif.org/v1/species/match": recorded("gbif/v1_species_match.json")}) as server:
        ...                       # PALEO_HTTP_REPLAY=server.url
        server.seen[0].query      # what was requested

A route is `HOST/PATH`, or `HOST/PATH?KEY=VALUE` for requests that have this pair among others; the route with the most
pairs wins. What stands behind it is bytes, text, anything that JSON can hold, a file, a `Reply`, or a function that is
handed the `Exchange` and writes the response itself, however wrong. Unknown routes respond 404.
"""

from __future__ import annotations

import gzip
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

RECORDED = Path(__file__).parents[2] / "shared/data/api"


@dataclass(frozen=True)
class Seen:
    """A request as it arrived; `headers` has lower-case names, `at` is monotonic seconds."""

    method: str
    host: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: float
    body: bytes = b""

    @property
    def place(self) -> str:
        return f"{self.host}{self.path}"


@dataclass(frozen=True)
class Reply:
    """An honest response, unless `headers` say something else; a header may be given several times."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Exchange(BaseHTTPRequestHandler):
    """One connection; functions behind routes are handed this."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    seen: Seen

    def do_GET(self) -> None:
        self.seen = self._read()
        self.server.replay.seen.append(self.seen)
        with suppress(ConnectionError):  # the client may hang up early
            _response(self, self.server.replay.route(self.seen))

    do_POST = do_GET

    def _read(self) -> Seen:
        parts = urlsplit(self.path)
        host, _, path = parts.path.removeprefix("/").partition("/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return Seen(self.command, host, f"/{path}", query, headers, time.monotonic(), body)

    def head(self, status: int, *headers: tuple[str, str]) -> None:
        """Send the status line and exactly these headers."""
        lines = [f"HTTP/1.1 {status} replayed", *(f"{name}: {value}" for name, value in headers), "", ""]
        self.wfile.write("\r\n".join(lines).encode("latin-1"))

    def hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Replay:
    """The running server: `url` for params, `seen` for the requests that it got."""

    url: str
    routes: dict[str, Any]
    seen: list[Seen] = field(default_factory=list)

    def count(self, place: str) -> int:
        """How often HOST/PATH was requested."""
        return sum(seen.place == place for seen in self.seen)

    def route(self, seen: Seen) -> Any:
        fitting = [(len(pairs), what) for place, pairs, what in self._table() if _fits(seen, place, pairs)]
        return max(fitting, key=lambda item: item[0])[1] if fitting else Reply(b"no such route", 404, "text/plain")

    def _table(self) -> Iterator[tuple[str, list[tuple[str, str]], Any]]:
        for key, what in self.routes.items():
            place, _, query = key.removeprefix("/").partition("?")
            yield place, parse_qsl(query, keep_blank_values=True), what


def _fits(seen: Seen, place: str, pairs: list[tuple[str, str]]) -> bool:
    return seen.place == place and all(seen.query.get(name) == value for name, value in pairs)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a server that drips for a minute is not waited for
    request_queue_size = 128
    replay: Replay

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def replay(routes: dict[str, Any], tls: ssl.SSLContext | None = None) -> Iterator[Replay]:
    """A server on a free port of 127.0.0.1 for as long as the block runs; `routes` may change meanwhile."""
    server = _Server(("127.0.0.1", 0), Exchange)
    server.socket = tls.wrap_socket(server.socket, server_side=True) if tls else server.socket
    server.replay = Replay(f"http://127.0.0.1:{server.server_address[1]}", routes)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.replay
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _response(exchange: Exchange, what: Any) -> None:
    if callable(what):
        what(exchange)
        return
    reply = _reply(what)
    named = {name.lower() for name, _ in reply.headers}
    own = [("Content-Type", reply.content_type), ("Content-Length", str(len(reply.body)))]
    headers = [pair for pair in own if pair[0].lower() not in named]
    exchange.head(reply.status, *headers, *reply.headers)
    exchange.wfile.write(reply.body)


def _reply(what: Any) -> Reply:
    if isinstance(what, Reply):
        return what
    if isinstance(what, Path):
        return Reply(what.read_bytes(), content_type=_type_of(what))
    if isinstance(what, bytes):
        return Reply(what, content_type="image/jpeg")
    if isinstance(what, str):
        return Reply(what.encode(), content_type="text/html; charset=utf-8")
    return Reply(json.dumps(what).encode())


def _type_of(path: Path) -> str:
    types = {".json": "application/json", ".jpg": "image/jpeg", ".png": "image/png", ".html": "text/html"}
    return types.get(path.suffix, "text/plain")


def recorded(name: str) -> Path:
    """A recorded response of a public API (`gbif/….json`); the test is skipped where the recordings are absent."""
    path = RECORDED / name
    if not path.is_file():
        pytest.skip(f"the recorded response {name} is not on this machine")
    return path


def in_turn(*routes: Any) -> Callable[[Exchange], None]:
    """The first response, then the second, …; the last one for ever."""
    lock, left = threading.Lock(), list(routes)

    def response(exchange: Exchange) -> None:
        with lock:
            what = left.pop(0) if len(left) > 1 else left[0]
        _response(exchange, what)

    return response


def status(code: int, body: bytes = b"", **headers: str) -> Reply:
    """A response with this status; `retry_after="3"` becomes the header Retry-After: 3."""
    pairs = tuple((name.replace("_", "-").title(), value) for name, value in headers.items())
    return Reply(body, code, "text/plain", pairs)


def http_date(seconds_from_now: float) -> str:
    return formatdate(time.time() + seconds_from_now, usegmt=True)


def redirect(target: str, code: int = 302) -> Reply:
    return status(code, location=target)


def wrong_length(body: bytes, claimed: int) -> Callable[[Exchange], None]:
    """Says that it sends `claimed` bytes, sends `body` and hangs up."""

    def response(exchange: Exchange) -> None:
        exchange.head(200, ("Content-Type", "image/jpeg"), ("Content-Length", str(claimed)))
        exchange.wfile.write(body)
        exchange.hang_up()

    return response


def drip(body: bytes, seconds_between: float) -> Callable[[Exchange], None]:
    """One byte, a pause, one byte, …"""

    def response(exchange: Exchange) -> None:
        exchange.head(200, ("Content-Type", "image/jpeg"), ("Content-Length", str(len(body))))
        for place in range(len(body)):
            exchange.wfile.write(body[place : place + 1])
            time.sleep(seconds_between)

    return response


def endless(chunk: bytes = b"x" * 65536) -> Callable[[Exchange], None]:
    """A body without a length that never ends."""

    def response(exchange: Exchange) -> None:
        exchange.hang_up()
        exchange.head(200, ("Content-Type", "image/jpeg"), ("Connection", "close"))
        while True:
            exchange.wfile.write(chunk)

    return response


def gzip_bomb(decoded_bytes: int) -> Reply:
    """A small body that unpacks to `decoded_bytes` zeros."""
    packed = gzip.compress(bytes(decoded_bytes))
    return Reply(packed, headers=(("Content-Encoding", "gzip"),))


def partial_content(body: bytes) -> Reply:
    """206 where no part was requested."""
    span = ("Content-Range", f"bytes 0-{len(body) - 1}/{len(body) * 10}")
    return Reply(body, 206, "image/jpeg", (span,))


def cookie_wall(here: str, body: bytes) -> Callable[[Exchange], None]:
    """Redirects to itself until its cookie is sent."""
    wall = Reply(b"", 302, "text/html", (("Location", here), ("Set-Cookie", "seen=1")))
    return lambda exchange: _response(exchange, body if "cookie" in exchange.seen.headers else wall)


def silence(seconds: float) -> Callable[[Exchange], None]:
    """Takes the request and says nothing."""

    def response(exchange: Exchange) -> None:
        time.sleep(seconds)
        exchange.hang_up()

    return response


def hang_up(exchange: Exchange) -> None:
    """Takes the request and closes the connection."""
    exchange.hang_up()
