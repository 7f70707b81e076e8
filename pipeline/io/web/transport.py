"""HTTP transport: one request through all its redirects, each hop checked, rate-limited, metered and read."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.client import responses

import httpcore
import httpx

from pipeline.core.data_params import Download
from pipeline.io.web.connection_pool import ConnectionPool, PooledConnection
from pipeline.io.web.download_limits import DownloadLimits, decoded, too_many_bytes
from pipeline.io.web.fetch_errors import FetchError, RetryableFetchError
from pipeline.io.web.rate_limits import RateLimits, retry_after
from pipeline.io.web.ssrf_guard import checked_url, host_of

MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
GONE = (404, 410)
RETRYABLE = (408, 425, 429)  # the only 4xx that may change by themselves
FAILURES = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)
ERROR_BYTES = 65_536  # read of an error's body, so that its connection can be used again
EXCERPT_CHARACTERS = 160  # of an error's body, in a message
NO_AI_TAGS = {"noai", "noimageai"}


@dataclass(frozen=True)
class RequestOptions:
    """A request without its URL, which redirects change. With a `form` it is a POST."""

    headers: tuple[tuple[str, str], ...]
    limits: DownloadLimits
    form: bytes = b""
    authorization: str = ""  # the header, for the first host only
    is_picture: bool = True  # X-Robots-Tag is obeyed for pictures


@dataclass(frozen=True)
class Response:
    status: int
    headers: httpx.Headers
    content: bytes
    url: httpx.URL

    @property
    def host(self) -> str:
        return host_of(self.url)

    def wait_seconds(self, now: float) -> float | None:
        """By its Retry-After header."""
        return retry_after(self.headers.get("retry-after", ""), now)

    def describe(self) -> str:
        """For people: which host responded what to which path, and the start of an error's text."""
        phrase = f" ({responses[self.status]})" if self.status in responses else ""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        text = " ".join(self.content.decode("utf-8", "replace").split())[:EXCERPT_CHARACTERS]
        is_plain = kind == "text/plain" or kind.endswith("json")  # and no page for browsers
        excerpt = f": {text!r}" if text and is_plain else ""
        return f"{self.host} responded {self.status}{phrase} to {self.url.path[:120]}{excerpt}"


class Transport:
    """Threads may share it. `replay`: host and port of the server that stands for every host."""

    def __init__(
        self,
        params: Download,
        rate_limits: RateLimits,
        pool: ConnectionPool,
        user_agent: str,
        replay: tuple[str, int] | None,
    ) -> None:
        self._params, self._rate_limits, self._pool = params, rate_limits, pool
        self._user_agent, self._replay = user_agent, replay
        self._connections = threading.BoundedSemaphore(params.connections)

    def follow(self, address: str, options: RequestOptions) -> Response:
        """The response at the end of all redirects, whatever its status is.

        Raises
        ------
        RetryableFetchError
            For 5xx, 429 and broken connections.
        FetchError
            For what a retry cannot change.
        """
        url = checked_url(address)
        origin, seen = (url.scheme, url.raw_host), {str(url)}
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(url, options)
            if response.status not in REDIRECTS or "location" not in response.headers:
                return response
            url = _redirect_target(response, options)
            if str(url) in seen:
                raise FetchError("redirect_loop", f"{response.host} redirects back to {url.path[:120]!r}")
            seen.add(str(url))
            options = options if (url.scheme, url.raw_host) == origin else replace(options, authorization="")
        raise FetchError("too_many_redirects", f"{response.host} redirects more than {MAX_REDIRECTS} times")

    def _send(self, url: httpx.URL, options: RequestOptions) -> Response:
        with self._connection(host_of(url), options.limits) as connection:
            options.limits.start_request(host_of(url))
            response = self._exchange(connection, url, options)
        if response.status in RETRYABLE or response.status >= 500:
            wait_seconds = response.wait_seconds(self._rate_limits.now())
            raise RetryableFetchError("server_failed", response.describe(), response.status, wait_seconds)
        return response

    @contextmanager
    def _connection(self, host: str, limits: DownloadLimits) -> Iterator[PooledConnection]:
        """A connection to the host, at the time of its next slot; waiting for it does not count against the limits."""
        began = time.monotonic()
        with self._pool.connection(host) as connection:
            self._rate_limits.wait(host)
            with self._connections:
                limits.extend(time.monotonic() - began)
                yield connection

    def _exchange(self, connection: PooledConnection, url: httpx.URL, options: RequestOptions) -> Response:
        try:
            response = connection.send(self._request(url, options), options.limits)
        except FAILURES as error:
            raise _connection_error(host_of(url), error) from error
        try:
            return self._read(response, url, options)
        except FAILURES as error:
            raise RetryableFetchError("truncated", f"{host_of(url)} broke off within its response") from error
        finally:
            response.close()

    def _request(self, url: httpx.URL, options: RequestOptions) -> httpcore.Request:
        """As it is sent: to the host itself, or to the replay server in its place."""
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        if self._replay:
            path = b"/%s%s" % (url.raw_host, url.raw_path)
            target = httpcore.URL(scheme="http", host=self._replay[0], port=self._replay[1], target=path)
        headers = [("Host", url.netloc.decode("ascii")), ("User-Agent", self._user_agent), *options.headers]
        if options.authorization:
            headers.append(("Authorization", options.authorization))
        if not options.form:
            return httpcore.Request("GET", target, headers=headers)
        headers += [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", str(len(options.form)))]
        return httpcore.Request("POST", target, headers=headers, content=options.form)

    def _read(self, response: httpcore.Response, url: httpx.URL, options: RequestOptions) -> Response:
        headers, host, most = httpx.Headers(response.headers), host_of(url), self._params.max_bytes
        if options.is_picture and response.status < 400:
            _check_robots_tag(headers, host)
        encoding = headers.get("content-encoding", "")
        if response.status != HTTPStatus.OK:
            text = _error_body(response, encoding, host)
            return Response(response.status, headers, b"" if options.is_picture else text, url)  # not for tables
        announced = headers.get("content-length", "")
        if re.fullmatch("[0-9]{1,20}", announced) and int(announced) > most:
            raise too_many_bytes(host, most, "announces")
        return Response(response.status, headers, decoded(response.iter_stream(), encoding, host, most), url)


def require_complete(response: Response) -> Response:
    """The response, if it is all of what was requested; FetchError by its status where it is not."""
    host, status = response.host, response.status
    if status == HTTPStatus.OK:
        return response
    if status == HTTPStatus.PARTIAL_CONTENT:
        raise FetchError("truncated", f"{host} sent a part (206) where the whole was requested", status)
    code = "gone" if status in GONE else "refused_by_server" if status >= 400 else "server_failed"
    raise FetchError(code, response.describe(), status)


def replay_server(address: str) -> tuple[str, int] | None:
    """Host and port of a replay server, which must be on this machine; None for an empty address."""
    if not address:
        return None
    if not (found := re.fullmatch(r"http://(127\.0\.0\.1|localhost|\[::1\]):(\d{1,5})", address)):
        raise ValueError(f"{address!r} is no server on this machine such as http://127.0.0.1:8000")
    return found[1].strip("[]"), int(found[2])


def _redirect_target(response: Response, options: RequestOptions) -> httpx.URL:
    """The URL of a redirect, checked like any other."""
    if options.form:
        raise FetchError("server_failed", f"{response.host} redirects a form, which is not sent elsewhere")
    target = response.headers["location"]
    try:
        address = str(response.url.join(target))
    except (httpx.InvalidURL, UnicodeError, ValueError):
        address = target
    return checked_url(address)


def _check_robots_tag(headers: httpx.Headers, host: str) -> None:
    """FetchError for pictures that must not be used for AI, whichever robot the tag is for."""
    words = re.split("[,:;]", ",".join(headers.get_list("x-robots-tag")).lower())
    tags = NO_AI_TAGS & {word.strip() for word in words}
    if tags:
        raise FetchError("noai", f"{host} does not want this picture used for AI (X-Robots-Tag: {min(tags)})")


def _error_body(response: httpcore.Response, encoding: str, host: str) -> bytes:
    """The body of a response that is read for its status only; empty when it is large or damaged."""
    try:
        return decoded(response.iter_stream(), encoding, host, ERROR_BYTES)
    except FetchError:
        return b""


def _connection_error(host: str, error: Exception) -> FetchError:
    """httpcore's timeouts come without words."""
    if isinstance(error, httpcore.TimeoutException):
        reason = "no connection" if isinstance(error, httpcore.ConnectTimeout) else "timeout"
    else:
        reason = " ".join(str(error).rstrip(".").split()) or type(error).__name__
    text = f"{host} does not respond ({reason})"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return FetchError("no_answer", text)
    return RetryableFetchError("no_answer", text)
