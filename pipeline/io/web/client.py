"""The one way to the web: questions to public APIs and downloads of pictures, guarded, metered and polite.

Addresses and connections are judged in `guard`, bytes and seconds in `caps`; `manners` keeps rates and budgets, `lines`
the number of connections, `answers` what APIs said; `exchange` goes one way through all of them. Here the way is gone
again while that may help, and its end becomes an `Answer`, a `Downloaded` or a `Rejection`.

httpx reads addresses and headers and sets up TLS. The requests go through httpcore, the transport below it, which lets
the guard make the connections and saves a third of the time that httpx's own client takes for a small file.
"""

from __future__ import annotations

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

from pipeline.core.errors import BudgetError, HttpError, ParamsError, ServiceError
from pipeline.core.params import Collect
from pipeline.core.records import Answer, Rejection, Request
from pipeline.io.web.connection_pool import ConnectionPool
from pipeline.io.web.download_limits import DownloadLimits
from pipeline.io.web.fetch_errors import FetchError, RetryableFetchError
from pipeline.io.web.rate_limits import RateLimits
from pipeline.io.web.response_cache import CachedResponse, ResponseCache, address_of, parsed
from pipeline.io.web.ssrf_guard import GuardedNetworkBackend, Resolve
from pipeline.io.web.transport import Call, Response, Transport, host_and_port, whole

Result = TypeVar("Result")
LATER_IN_JSON = ("maxlag", "ratelimited", "readonly")  # MediaWiki says so in an answer with status 200
MIN_LAG_SECONDS = 5.0  # what MediaWiki asks for after maxlag
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 1.0, 60.0
INFO_SHOWN = 160  # characters


@dataclass(frozen=True)
class DownloadedFile:
    """The bytes of a file, and the address that gave them after all redirects."""

    content: bytes
    url: str
    content_type: str


class WebClient:
    """Web APIs and files on the web, for as long as the block runs; threads may share it.

    `work` is the folder of its caches, the same for all processes of a project. `look` names what an answer of an API
    may be used again for; without one every question is asked afresh. `resolve` is as socket.getaddrinfo, `now` as
    time.time, `sleep` as time.sleep.
    """

    def __init__(
        self,
        collect: Collect,
        work: Path,
        *,
        look: str = "",
        resolve: Resolve = socket.getaddrinfo,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._collect, self._look, self._sleep = collect, look, sleep
        agent, replay = user_agent(collect.contact), host_and_port(collect.replay)
        self._random = random.Random()  # for pauses only
        self._manners = RateLimits(collect, work, now, sleep)
        self._answers = ResponseCache(work / "answers")
        self._lines = ConnectionPool(
            work / "lines", self._connections, lambda: GuardedNetworkBackend(resolve, replay), tls=replay is None
        )
        self._exchanges = Transport(collect.download, self._manners, self._lines, agent, replay)

    def __enter__(self) -> WebClient:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for part in (self._manners, self._answers, self._lines):
                stack.callback(part.close)

    def ask(self, request: Request) -> Answer:
        """What an API answers, from the cache if it was asked the same in this look.

        Raises
        ------
        HttpError
            With its status, when it answers with an error.
        BudgetError
            When it may not be asked now.
        ServiceError
            When nobody says who asks, it does not answer, or what it sends is not JSON.
        InputError
            When the cache cannot be written.
        """
        self._demand_contact(request)
        known = None if request.form or request.fresh else self._answers.known(request)
        if known and self._look and known.look == self._look:
            return self._remembered(known)
        try:
            return self._attempt(lambda allowance: self._question(request, known, allowance))
        except FetchError as refused:
            raise _raised(refused) from None

    def download(self, url: str) -> DownloadedFile | Rejection:
        """The bytes behind an address, or why there are none (the codes of `refused`).

        Raises
        ------
        InputError
            When the caches cannot be written.
        """
        try:
            return self._attempt(lambda allowance: self._file(url, allowance))
        except FetchError as refused:
            return Rejection("download", refused.code, f"{refused}.")

    def evidence(self, sha256: str) -> bytes:
        """The raw answer that has this sha256; InputError when it is lost."""
        return self._answers.body(sha256)

    def budget_left(self, host: str) -> int | None:
        """Requests that are left today (UTC); None when the host sets no number."""
        return self._manners.budget_left(host)

    def _connections(self, host: str) -> int:
        return min(self._manners.rule(host).connections, self._collect.download.connections)

    def _demand_contact(self, request: Request) -> None:
        if not self._collect.contact.strip():
            raise ServiceError(
                "collect.contact in params.yaml is empty; write an e-mail or web address there before "
                f"asking public APIs such as {urlsplit(request.url).hostname}"
            )

    def _attempt(self, work: Callable[[DownloadLimits], Result]) -> Result:
        """Do it, and again while that may help. When a host asks for quiet, nobody asks it meanwhile."""
        allowance, attempts = DownloadLimits(self._collect.download), self._collect.download.attempts
        for attempt in count(1):
            try:
                return work(allowance)
            except RetryableFetchError as trouble:
                pause = trouble.wait_seconds or self._backoff(attempt)
                quiet = bool(trouble.wait_seconds) or trouble.status == HTTPStatus.TOO_MANY_REQUESTS
                if quiet:
                    self._manners.hold(allowance.host, pause)
                if attempt >= attempts or allowance.left_seconds <= 0:
                    raise RetryableFetchError(trouble.code, f"{trouble}, {attempt} times", trouble.status) from trouble
                if not quiet:
                    allowance.rest(pause)
                    self._sleep(pause)
        raise AssertionError("never reached")

    def _backoff(self, attempt: int) -> float:
        """Seconds, with full jitter: from none at all to twice as many each time."""
        return self._random.uniform(0, min(FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1), LONGEST_BACKOFF_SECONDS))

    def _question(self, request: Request, known: CachedResponse | None, allowance: DownloadLimits) -> Answer:
        """Ask an API once; what it said before is confirmed by a 304."""
        reply = self._exchanges.follow(address_of(request), _call(request, known, allowance))
        if known and reply.status == HTTPStatus.NOT_MODIFIED:
            self._answers.keep(request, replace(known, look=self._look))
            return self._remembered(known)
        value = parsed(whole(reply).content, reply.host)
        _demand_patience(value, reply, self._manners.now())
        if request.form:  # its answer is a secret
            return Answer(value, "", str(reply.url))
        return self._kept(request, reply, value)

    def _kept(self, request: Request, reply: Response, value: Any) -> Answer:
        """The answer and its evidence; an error is not an answer to be used again."""
        etag, modified = reply.headers.get("etag", ""), reply.headers.get("last-modified", "")
        kept = CachedResponse(self._look, self._answers.store(reply.content), str(reply.url), etag, modified)
        if _error(value) is None:
            self._answers.keep(request, kept)
        return Answer(value, kept.sha256, kept.url)

    def _remembered(self, kept: CachedResponse) -> Answer:
        value = parsed(self._answers.body(kept.sha256), urlsplit(kept.url).hostname or "")
        return Answer(value, kept.sha256, kept.url)

    def _file(self, url: str, allowance: DownloadLimits) -> DownloadedFile:
        headers = (("Accept", "image/*,*/*;q=0.1"), ("Accept-Encoding", "identity"))
        reply = whole(self._exchanges.follow(url, Call(headers, allowance)))
        return DownloadedFile(reply.content, str(reply.url), reply.headers.get("content-type", ""))


def user_agent(contact: str) -> str:
    """Who asks and how to reach them; ParamsError when the contact cannot stand in a header."""
    if not re.fullmatch(r"[ -~]*", contact):
        raise ParamsError(f"collect.contact is {contact!r}; write it on one line of plain ASCII characters")
    who = f" ({contact.strip()})" if contact.strip() else ""
    return f"paleoforge/{version('paleoforge')}{who} httpx/{version('httpx')}"


def _raised(refused: FetchError) -> ServiceError:
    if refused.code == "budget_used_up":
        return BudgetError(str(refused))
    return HttpError(str(refused), refused.status) if refused.status else ServiceError(str(refused))


def _call(request: Request, known: CachedResponse | None, allowance: DownloadLimits) -> Call:
    headers = [("Accept", request.accept), ("Accept-Encoding", "gzip")]
    if known and known.etag:
        headers.append(("If-None-Match", known.etag))
    if known and known.modified:
        headers.append(("If-Modified-Since", known.modified))
    form = urlencode(request.form).encode()
    return Call(tuple(headers), allowance, form, request.authorization, is_picture=False)


def _error(value: Any) -> Any:
    return value.get("error") if isinstance(value, dict) else None


def _demand_patience(value: Any, reply: Response, now: float) -> None:
    """TryAgain when the API says that it cannot answer now."""
    error = _error(value)
    code = error.get("code") if isinstance(error, dict) else None
    if code in LATER_IN_JSON:
        info = str(error.get("info", ""))[:INFO_SHOWN]
        wait = max(reply.wait_seconds(now) or 0.0, MIN_LAG_SECONDS)
        raise RetryableFetchError(
            "server_failed", f"{reply.host} cannot answer now ({code}: {info})", reply.status, wait
        )
