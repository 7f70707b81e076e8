"""Download limits: seconds, bytes and speed, measured where the bytes arrive, so that no header can evade them."""

from __future__ import annotations

import ssl
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import httpcore

from pipeline.core.data_params import Download
from pipeline.io.web.fetch_errors import FetchError

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0  # between two bytes, as long as no speed is demanded
WINDOW_SECONDS = 5.0  # speed is measured over this time, or a quarter of all that is allowed
HEADER_BYTES = 131_072  # allowed on top of the body
CHUNK_BYTES = 1 << 20  # decompressed at once
ENCODINGS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class DownloadLimits:
    """What is left of the seconds and bytes for one address, over all its redirects and attempts."""

    def __init__(self, params: Download, clock: Callable[[], float] = time.monotonic) -> None:
        self._params, self._clock = params, clock
        self._deadline = clock() + params.max_seconds
        self._window_seconds = min(WINDOW_SECONDS, params.max_seconds / 4)
        self.start_request("")

    def start_request(self, host: str) -> None:
        """Count the bytes of a new request from zero."""
        self.host, self.received = host, 0
        self._window_start, self._window_bytes = 0.0, 0

    def extend(self, seconds: float) -> None:
        """Time spent waiting for one's turn does not count against the server."""
        self._deadline += seconds

    @property
    def left_seconds(self) -> float:
        return self._deadline - self._clock()

    def timeout(self, seconds: float = READ_SECONDS) -> float:
        """How long to wait for the next byte; FetchError when the time is over."""
        left = self.left_seconds
        if left <= 0:
            raise self._too_long()
        if self.received and self._params.min_bytes_per_second:
            seconds = min(seconds, max(self._window_end - self._clock(), 0.001))
        return min(seconds, left)

    def count(self, size: int) -> None:
        """Count bytes that arrived; FetchError when they are too many, too few a second or too late."""
        now = self._clock()
        if not self.received:
            self._window_start = now
        self.received += size
        self._window_bytes += size
        if self.received > self._params.max_bytes + HEADER_BYTES:
            raise too_many_bytes(self.host, self._params.max_bytes)
        if now >= self._deadline:
            raise self._too_long()
        self._check_speed(now)

    def allows_pause(self) -> bool:
        """Whether to go on after a read timed out: yes while the speed so far is enough; FetchError when it is not."""
        if not self.received:
            return False
        if self.left_seconds <= 0:
            raise self._too_long()
        if not self._params.min_bytes_per_second:
            return False
        self._check_speed(self._clock())
        return True

    @property
    def _window_end(self) -> float:
        return self._window_start + self._window_seconds

    def _check_speed(self, now: float) -> None:
        if now < self._window_end:
            return
        least = self._params.min_bytes_per_second
        if self._window_bytes < least * (now - self._window_start):
            text = f"{self.host} sent fewer than {least} bytes a second (collect.download.min_bytes_per_second)"
            raise FetchError("too_slow", text)
        self._window_start, self._window_bytes = now, 0

    def _too_long(self) -> FetchError:
        return FetchError(
            "too_long",
            f"{self.host} was not done after {self._params.max_seconds:g} seconds (collect.download.max_seconds)",
        )


class HasLimits(Protocol):
    """Whoever uses a connection; `limits` are those of the download under way."""

    limits: DownloadLimits


class MeteredStream(httpcore.NetworkStream):
    """A connection whose bytes count against the limits of whatever uses it now."""

    def __init__(self, stream: httpcore.NetworkStream, user: HasLimits) -> None:
        self._stream, self._user = stream, user

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        limits = self._user.limits
        while True:
            seconds = limits.timeout()
            try:
                content = self._stream.read(max_bytes, seconds)
            except httpcore.ReadTimeout:
                if not limits.allows_pause():
                    raise
            else:
                limits.count(len(content))
                return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._user.limits.timeout())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> MeteredStream:
        seconds = self._user.limits.timeout(CONNECT_SECONDS)
        return MeteredStream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._user)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def too_many_bytes(host: str, most: int, how: str = "sends") -> FetchError:
    return FetchError("too_many_bytes", f"{host} {how} more than {most} bytes (collect.download.max_bytes)")


def decoded(chunks: Iterable[bytes], encoding: str, host: str, max_bytes: int) -> bytes:
    """The whole body, decompressed by its Content-Encoding, never holding more than `max_bytes` of it.

    Raises
    ------
    FetchError
        When it is larger, has an encoding that was not requested, or cannot be decompressed.
    """
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity"):
        chunks = _decompressed(chunks, encoding, host)
    pieces, size = [], 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise too_many_bytes(host, max_bytes, "compresses" if encoding in ENCODINGS else "sends")
        pieces.append(chunk)
    return b"".join(pieces)


def _decompressed(chunks: Iterable[bytes], encoding: str, host: str) -> Iterator[bytes]:
    if encoding not in ENCODINGS:
        raise FetchError("server_failed", f"{host} encodes its response as {encoding[:40]!r}, which was not requested")
    decompressor = zlib.decompressobj(ENCODINGS[encoding])
    try:
        for chunk in chunks:
            while chunk:
                yield decompressor.decompress(chunk, CHUNK_BYTES)
                chunk = decompressor.unconsumed_tail
    except zlib.error as error:
        raise FetchError("truncated", f"{host} sends a compressed body that is damaged ({error})") from None
    if not decompressor.eof:
        raise FetchError("truncated", f"{host} sends a compressed body that breaks off")
