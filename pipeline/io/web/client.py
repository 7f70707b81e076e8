"""Web client: requests to public APIs and downloads of pictures, guarded, rate-limited and cached.

`ssrf_guard` checks addresses and connections, `download_limits` counts bytes and seconds; `rate_limits` keeps rates and
budgets, `connection_pool` the number of connections, `response_cache` the responses of APIs; `transport` sends one
request through all of them. Here it is retried while that may help, and its end becomes an `ApiResponse`, a
`DownloadedFile` or a `Rejection`.

httpx reads addresses and headers and sets up TLS. The requests go through httpcore, the transport below it, which lets
the guard open the connections and saves a third of the time that httpx's own client takes for a small file.
"""

from __future__ import annotations

import os
import random
import re
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from http import HTTPStatus
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from pipeline.core.data_params import Collect
from pipeline.core.errors import BudgetError, HttpError, ParamsError, ServiceError
from pipeline.core.records import ApiResponse, Rejection, Request
from pipeline.io.web.connection_pool import ConnectionPool
from pipeline.io.web.download_limits import DownloadLimits
from pipeline.io.web.fetch_errors import FetchError, RetryableFetchError
from pipeline.io.web.rate_limits import RateLimits
from pipeline.io.web.response_cache import CachedResponse, ResponseCache, full_url, parse_json
from pipeline.io.web.ssrf_guard import GuardedNetworkBackend, Resolve
from pipeline.io.web.transport import RequestOptions, Response, Transport, replay_server, require_complete

Result = TypeVar("Result")
REPLAY = "PALEO_HTTP_REPLAY"  # environment variable: for tests, a server on this machine that stands for every host
BUSY_CODES = ("maxlag", "ratelimited", "readonly")  # of MediaWiki, in a response with status 200
MIN_BUSY_SECONDS = 5.0  # what MediaWiki recommends after maxlag
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 1.0, 60.0
INFO_CHARACTERS = 160  # of an API's explanation, in a message


@dataclass(frozen=True)
class DownloadedFile:
    """The bytes of a file, and the URL that they came from after all redirects."""

    content: bytes
    url: str
    content_type: str


class WebClient:
    """Web APIs and files on the web, for as long as the block runs; threads may share it.

    `work` is the folder of its caches, the same for all processes of a project. `session` names the crawl session in
    which the response of an API is used again; without one every request is sent. `replay` is the address of a server
    on this machine that stands for every host. `resolve` is as socket.getaddrinfo, `now` as time.time, `sleep` as
    time.sleep.

    Raises
    ------
    ParamsError
        When the contact cannot stand in a header, or the replay server is not on this machine.
    """

    def __init__(
        self,
        collect: Collect,
        work: Path,
        *,
        session: str = "",
        replay: str = "",
        resolve: Resolve = socket.getaddrinfo,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._collect, self._session, self._sleep = collect, session, sleep
        agent, server = user_agent(collect.contact), _replay_server(replay)
        self._random = random.Random()  # for backoff only
        self._rate_limits = RateLimits(collect.hosts, work, now, sleep)
        self._cache = ResponseCache(work / "answers")
        self._pool = ConnectionPool(
            work / "connections", self.connections, lambda: GuardedNetworkBackend(resolve, server), tls=server is None
        )
        self._transport = Transport(collect.download, self._rate_limits, self._pool, agent, server)

    def __enter__(self) -> WebClient:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for part in (self._rate_limits, self._cache, self._pool):
                stack.callback(part.close)

    def fetch(self, request: Request, *, anonymous: bool = False) -> ApiResponse:
        """The response of an API, from the cache if it came within this session.

        Raises
        ------
        HttpError
            With its status, when it is an error.
        BudgetError
            When the host may not be requested now.
        ServiceError
            When there is no contact address (unless `anonymous`), no response, or one that is not JSON.
        InputError
            When the cache cannot be written.
        """
        if not (anonymous or self._collect.contact.strip()):
            raise ServiceError(
                "collect.contact in params.yaml is empty; write an e-mail or web address there before "
                f"requesting public APIs such as {urlsplit(request.url).hostname}"
            )
        cached = None if request.form or request.fresh else self._cache.get(request)
        if cached and self._session and cached.session == self._session:
            return self._from_cache(cached)
        try:
            return self._with_retries(lambda limits: self._request(request, cached, limits))
        except FetchError as error:
            raise _service_error(error) from None

    def download(self, url: str) -> DownloadedFile | Rejection:
        """The file at an address, or why there is none (the codes of `fetch_errors`).

        Raises
        ------
        InputError
            When the caches cannot be written.
        """
        try:
            return self._with_retries(lambda limits: self._file(url, limits))
        except FetchError as error:
            return Rejection("download", error.code, f"{error}.")

    def evidence(self, sha256: str) -> bytes:
        """The raw response that has this sha256; InputError when it is lost."""
        return self._cache.body(sha256)

    def budget_left(self, host: str) -> int | None:
        """Requests that are left today (UTC); None when the host has no daily budget."""
        return self._rate_limits.budget_left(host)

    def connections(self, host: str) -> int:
        """How many connections to a host may be open at once."""
        return int(min(self._rate_limits.of(host).connections, self._collect.download.connections))

    def _with_retries(self, attempt: Callable[[DownloadLimits], Result]) -> Result:
        """Try, and again while that may help. A pause that a host demands holds for all requests to it."""
        limits, attempts = DownloadLimits(self._collect.download), self._collect.download.attempts
        for number in count(1):
            try:
                return attempt(limits)
            except RetryableFetchError as error:
                pause = error.wait_seconds or self._backoff(number)
                is_demanded = bool(error.wait_seconds) or error.status == HTTPStatus.TOO_MANY_REQUESTS
                if is_demanded:
                    self._rate_limits.pause(limits.host, pause)
                if number >= attempts or limits.left_seconds <= 0:
                    raise RetryableFetchError(error.code, f"{error}, {number} times", error.status) from error
                if not is_demanded:
                    limits.extend(pause)
                    self._sleep(pause)
        raise AssertionError("never reached")

    def _backoff(self, attempt: int) -> float:
        """Seconds, with full jitter: from zero to twice as many each time."""
        return self._random.uniform(0, min(FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1), LONGEST_BACKOFF_SECONDS))

    def _request(self, request: Request, cached: CachedResponse | None, limits: DownloadLimits) -> ApiResponse:
        """Send a request to an API once; a 304 confirms the cached response."""
        response = self._transport.follow(full_url(request), _options(request, cached, limits))
        if cached and response.status == HTTPStatus.NOT_MODIFIED:
            self._cache.put(request, replace(cached, session=self._session))
            return self._from_cache(cached)
        value = parse_json(require_complete(response).content, response.host)
        _check_busy(value, response, self._rate_limits.now())
        if request.form:  # its response is a secret
            return ApiResponse(value, "", str(response.url))
        return self._stored(request, response, value)

    def _stored(self, request: Request, response: Response, value: Any) -> ApiResponse:
        """The response, its body kept as evidence; an error is not used again."""
        etag, modified = response.headers.get("etag", ""), response.headers.get("last-modified", "")
        sha256 = self._cache.put_body(response.content)
        cached = CachedResponse(self._session, sha256, str(response.url), etag, modified)
        if _error(value) is None:
            self._cache.put(request, cached)
        return ApiResponse(value, cached.sha256, cached.url)

    def _from_cache(self, cached: CachedResponse) -> ApiResponse:
        value = parse_json(self._cache.body(cached.sha256), urlsplit(cached.url).hostname or "")
        return ApiResponse(value, cached.sha256, cached.url)

    def _file(self, url: str, limits: DownloadLimits) -> DownloadedFile:
        headers = (("Accept", "image/*,*/*;q=0.1"), ("Accept-Encoding", "identity"))
        response = require_complete(self._transport.follow(url, RequestOptions(headers, limits)))
        return DownloadedFile(response.content, str(response.url), response.headers.get("content-type", ""))


def user_agent(contact: str) -> str:
    """The User-Agent with the contact address; ParamsError when that cannot stand in a header."""
    if not re.fullmatch(r"[ -~]*", contact):
        raise ParamsError(f"collect.contact is {contact!r}; write it on one line of plain ASCII characters")
    comment = f" ({contact.strip()})" if contact.strip() else ""
    return f"paleoforge/{version('paleoforge')}{comment} httpx/{version('httpx')}"


def credentials(variables: tuple[str, ...]) -> tuple[str, ...]:
    """The values of these environment variables; empty unless all of them are set."""
    values = tuple(os.environ.get(name, "") for name in variables)
    return values if all(values) else ()


def _replay_server(address: str) -> tuple[str, int] | None:
    try:
        return replay_server(address or os.environ.get(REPLAY, ""))
    except ValueError as error:
        raise ParamsError(f"{REPLAY} is wrong: {error}") from None


def _service_error(error: FetchError) -> ServiceError:
    if error.code == "budget_used_up":
        return BudgetError(str(error))
    return HttpError(str(error), error.status) if error.status else ServiceError(str(error))


def _options(request: Request, cached: CachedResponse | None, limits: DownloadLimits) -> RequestOptions:
    headers = [("Accept", request.accept), ("Accept-Encoding", "gzip")]
    if cached and cached.etag:
        headers.append(("If-None-Match", cached.etag))
    if cached and cached.modified:
        headers.append(("If-Modified-Since", cached.modified))
    form = urlencode(request.form).encode()
    return RequestOptions(tuple(headers), limits, form, request.authorization, is_picture=False)


def _error(value: Any) -> Any:
    return value.get("error") if isinstance(value, dict) else None


def _check_busy(value: Any, response: Response, now: float) -> None:
    """RetryableFetchError for a response with status 200 that says the API is busy."""
    error = _error(value)
    code = error.get("code") if isinstance(error, dict) else None
    if code in BUSY_CODES:
        info = str(error.get("info", ""))[:INFO_CHARACTERS]
        wait_seconds = max(response.wait_seconds(now) or 0.0, MIN_BUSY_SECONDS)
        raise RetryableFetchError(
            "server_failed", f"{response.host} is busy ({code}: {info})", response.status, wait_seconds
        )
