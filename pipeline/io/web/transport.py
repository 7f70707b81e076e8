"""One question on the web and its answer, through all redirects: each hop is judged, awaited, metered and read."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.client import responses
from urllib.parse import urlsplit

import httpcore
import httpx

from pipeline.core.params import Download
from pipeline.io.web.connection_pool import ConnectionPool, PooledConnection
from pipeline.io.web.download_limits import DownloadLimits, too_many_bytes, unpacked
from pipeline.io.web.fetch_errors import FetchError, RetryableFetchError
from pipeline.io.web.rate_limits import RateLimits, retry_after
from pipeline.io.web.ssrf_guard import checked, name_of

MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
GONE = (404, 410)
LATER = (408, 425, 429)  # the only 4xx that may change by themselves
FAILURES = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)
ERROR_BYTES = 65_536  # of an answer that is an error, so that its connection can be used again
ERROR_SHOWN = 160  # characters of it
UNWANTED = {"noai", "noimageai"}


@dataclass(frozen=True)
class Call:
    """A request without its address, which redirects change. With a `form` it is a POST."""

    headers: tuple[tuple[str, str], ...]
    allowance: DownloadLimits
    form: bytes = b""
    secret: str = ""  # the header Authorization, for the first host only
    is_picture: bool = True  # what a host says about use by machines is said of pictures


@dataclass(frozen=True)
class Response:
    status: int
    headers: httpx.Headers
    content: bytes
    url: httpx.URL

    @property
    def host(self) -> str:
        return name_of(self.url)

    def wait_seconds(self, now: float) -> float | None:
        """What its Retry-After says."""
        return retry_after(self.headers.get("retry-after", ""), now)

    def said(self) -> str:
        """For people: who answered what to which question."""
        phrase = f" ({responses[self.status]})" if self.status in responses else ""
        return f"{self.host} answered {self.status}{phrase} to {self.url.path[:120]}{self._quoted()}"

    def _quoted(self) -> str:
        """The start of an error's text, unless it is a page for browsers."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        text = " ".join(self.content.decode("utf-8", "replace").split())[:ERROR_SHOWN]
        return f": {text!r}" if text and (kind == "text/plain" or kind.endswith("json")) else ""


class Transport:
    """Threads may share it. `replay`: host and port of the server that answers in place of every host."""

    def __init__(
        self, limits: Download, manners: RateLimits, lines: ConnectionPool, agent: str, replay: tuple[str, int] | None
    ) -> None:
        self._limits, self._manners, self._lines = limits, manners, lines
        self._agent, self._replay = agent, replay
        self._connections = threading.BoundedSemaphore(limits.connections)

    def follow(self, address: str, call: Call) -> Response:
        """The answer at the end of all redirects, whatever its status is.

        Raises
        ------
        TryAgain
            For 5xx, 429 and broken connections.
        Refused
            For what asking again cannot change.
        """
        url = checked(address)
        origin, seen = (url.scheme, url.raw_host), {str(url)}
        for _ in range(MAX_REDIRECTS + 1):
            reply = self._once(url, call)
            if reply.status not in REDIRECTS or "location" not in reply.headers:
                return reply
            url = _onward(reply, call)
            if str(url) in seen:
                raise FetchError("redirect_loop", f"{reply.host} leads back to {url.path[:120]!r}, where it came from")
            seen.add(str(url))
            call = call if (url.scheme, url.raw_host) == origin else replace(call, secret="")
        raise FetchError("too_many_redirects", f"{reply.host} leads on and on, more than {MAX_REDIRECTS} times")

    def _once(self, url: httpx.URL, call: Call) -> Response:
        with self._turn(name_of(url), call.allowance) as line:
            call.allowance.begin(name_of(url))
            reply = self._exchange(line, url, call)
        if reply.status in LATER or reply.status >= 500:
            raise RetryableFetchError(
                "server_failed", reply.said(), reply.status, reply.wait_seconds(self._manners.now())
            )
        return reply

    @contextmanager
    def _turn(self, host: str, allowance: DownloadLimits) -> Iterator[PooledConnection]:
        """A line to the host once it may be asked; what this takes is not the allowance's."""
        began = time.monotonic()
        with self._lines.to(host) as line:
            self._manners.await_turn(host)
            with self._connections:
                allowance.rest(time.monotonic() - began)
                yield line

    def _exchange(self, line: PooledConnection, url: httpx.URL, call: Call) -> Response:
        try:
            response = line.send(self._request(url, call), call.allowance)
        except FAILURES as error:
            raise _no_answer(name_of(url), error) from error
        try:
            return self._read(response, url, call)
        except FAILURES as error:
            raise RetryableFetchError("truncated", f"{name_of(url)} broke off in the middle of its answer") from error
        finally:
            response.close()

    def _request(self, url: httpx.URL, call: Call) -> httpcore.Request:
        """As it goes out: to the host itself, or to the replay server in its place."""
        where = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        if self._replay:
            target = b"/%s%s" % (url.raw_host, url.raw_path)
            where = httpcore.URL(scheme="http", host=self._replay[0], port=self._replay[1], target=target)
        headers = [("Host", url.netloc.decode("ascii")), ("User-Agent", self._agent), *call.headers]
        if call.secret:
            headers.append(("Authorization", call.secret))
        if not call.form:
            return httpcore.Request("GET", where, headers=headers)
        headers += [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", str(len(call.form)))]
        return httpcore.Request("POST", where, headers=headers, content=call.form)

    def _read(self, response: httpcore.Response, url: httpx.URL, call: Call) -> Response:
        headers, host, most = httpx.Headers(response.headers), name_of(url), self._limits.max_bytes
        if call.is_picture and response.status < 400:
            _demand_consent(headers, host)
        packing = headers.get("content-encoding", "")
        if response.status != HTTPStatus.OK:
            text = _start(response, packing, host)
            return Response(response.status, headers, b"" if call.is_picture else text, url)  # tables keep no such text
        announced = headers.get("content-length", "")
        if re.fullmatch("[0-9]{1,20}", announced) and int(announced) > most:
            raise too_many_bytes(host, most, "announces")
        return Response(response.status, headers, unpacked(response.iter_stream(), packing, host, most), url)


def whole(reply: Response) -> Response:
    """The reply, if it is all of what was asked for.

    Raises
    ------
    Refused
        By its status.
    """
    if reply.status == HTTPStatus.OK:
        return reply
    if reply.status == HTTPStatus.PARTIAL_CONTENT:
        raise FetchError("truncated", f"{reply.host} sent a part (206) where the whole was asked for", reply.status)
    code = "gone" if reply.status in GONE else "refused_by_server" if reply.status >= 400 else "server_failed"
    raise FetchError(code, reply.said(), reply.status)


def _onward(reply: Response, call: Call) -> httpx.URL:
    """Where a redirect leads, judged like any address."""
    if call.form:
        raise FetchError("server_failed", f"{reply.host} wants a form to be sent elsewhere, which is not done")
    target = reply.headers["location"]
    try:
        address = str(reply.url.join(target))
    except (httpx.InvalidURL, UnicodeError, ValueError):
        address = target
    return checked(address)


def _demand_consent(headers: httpx.Headers, host: str) -> None:
    """A wish that pictures be not used for AI counts, to whichever robot it is told."""
    said = re.split("[,:;]", ",".join(headers.get_list("x-robots-tag")).lower())
    unwanted = UNWANTED & {word.strip() for word in said}
    if unwanted:
        raise FetchError("noai", f"{host} does not want this picture used for AI (X-Robots-Tag: {min(unwanted)})")


def _start(response: httpcore.Response, packing: str, host: str) -> bytes:
    """The body of an answer that is read for its status only; nothing when it is large or damaged."""
    try:
        return unpacked(response.iter_stream(), packing, host, ERROR_BYTES)
    except FetchError:
        return b""


def _no_answer(host: str, error: Exception) -> FetchError:
    text = f"{host} does not answer ({_why(error)})"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return FetchError("no_answer", text)
    return RetryableFetchError("no_answer", text)


def _why(error: Exception) -> str:
    """httpcore's time-outs come without words."""
    if isinstance(error, httpcore.TimeoutException):
        return "no connection" if isinstance(error, httpcore.ConnectTimeout) else "silence"
    return " ".join(str(error).rstrip(".").split()) or type(error).__name__


def host_and_port(address: str) -> tuple[str, int] | None:
    """Of collect.replay; None when it is empty."""
    parts = urlsplit(address)
    return (parts.hostname, parts.port) if address else None
