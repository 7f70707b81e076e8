"""What one download may take, measured where the bytes come in, so that no header can say otherwise."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator

import httpcore

from pipeline.core.params import Download
from pipeline.io.web.fetch_errors import FetchError

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0  # between two bytes, as long as no speed is demanded
WINDOW_SECONDS = 5.0  # speed is measured over this time, or a quarter of all that is allowed
HEADER_BYTES = 131_072  # allowed on top of the body
PIECE_BYTES = 1 << 20  # unpacked at once
PACKED = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class DownloadLimits:
    """Seconds and bytes that are left to one address, over all its redirects and attempts."""

    def __init__(self, limits: Download, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._deadline = clock() + limits.max_seconds
        self._window_seconds = min(WINDOW_SECONDS, limits.max_seconds / 4)
        self.begin("")

    def begin(self, host: str) -> None:
        """A new request: its bytes are counted from nought."""
        self.host, self.received = host, 0
        self._window_start, self._window_bytes = 0.0, 0

    def rest(self, seconds: float) -> None:
        """Waiting for one's turn is not the server's fault."""
        self._deadline += seconds

    @property
    def left_seconds(self) -> float:
        return self._deadline - self._clock()

    def patience(self, seconds: float = SILENCE_SECONDS) -> float:
        """How long the next byte is waited for; Refused when the time is over."""
        left = self.left_seconds
        if left <= 0:
            raise self._too_long()
        if self.received and self._limits.min_bytes_per_second:
            seconds = min(seconds, max(self._window_end - self._clock(), 0.001))
        return min(seconds, left)

    def take(self, size: int) -> None:
        """Count bytes that came; Refused when they are too many, too few a second or too late."""
        now = self._clock()
        if not self.received:
            self._window_start = now
        self.received += size
        self._window_bytes += size
        if self.received > self._limits.max_bytes + HEADER_BYTES:
            raise too_many_bytes(self.host, self._limits.max_bytes)
        if now >= self._deadline:
            raise self._too_long()
        self._check_speed(now)

    def silence(self) -> bool:
        """Whether to go on after a pause: yes while the speed so far is enough; Refused when it is not."""
        if not self.received:
            return False
        if self.left_seconds <= 0:
            raise self._too_long()
        return bool(self._limits.min_bytes_per_second) and not self._check_speed(self._clock())

    @property
    def _window_end(self) -> float:
        return self._window_start + self._window_seconds

    def _check_speed(self, now: float) -> None:
        if now < self._window_end:
            return
        least = self._limits.min_bytes_per_second
        if self._window_bytes < least * (now - self._window_start):
            text = f"{self.host} sent fewer than {least} bytes a second (collect.download.min_bytes_per_second)"
            raise FetchError("too_slow", text)
        self._window_start, self._window_bytes = now, 0

    def _too_long(self) -> FetchError:
        return FetchError(
            "too_long",
            f"{self.host} was not done after {self._limits.max_seconds:g} seconds (collect.download.max_seconds)",
        )


class MeteredStream(httpcore.NetworkStream):
    """A connection whose bytes count against the allowance of whoever uses it now (`user.allowance`)."""

    def __init__(self, stream: httpcore.NetworkStream, user) -> None:
        self._stream, self._user = stream, user

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        allowance = self._user.allowance
        while True:
            patience = allowance.patience()
            try:
                content = self._stream.read(max_bytes, patience)
            except httpcore.ReadTimeout:
                if not allowance.silence():
                    raise
            else:
                allowance.take(len(content))
                return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._user.allowance.patience())

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context, server_hostname: str | None = None, timeout: float | None = None) -> MeteredStream:
        patience = self._user.allowance.patience(CONNECT_SECONDS)
        return MeteredStream(self._stream.start_tls(ssl_context, server_hostname, patience), self._user)

    def get_extra_info(self, info: str):
        return self._stream.get_extra_info(info)


def too_many_bytes(host: str, most: int, how: str = "sends") -> FetchError:
    return FetchError("too_many_bytes", f"{host} {how} more than {most} bytes (collect.download.max_bytes)")


def unpacked(chunks: Iterable[bytes], encoding: str, host: str, max_bytes: int) -> bytes:
    """The whole body, undone from its Content-Encoding, never holding more than `max_bytes` of it.

    Raises
    ------
    Refused
        When it is larger, is packed in a way that was not asked for, or cannot be unpacked.
    """
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity"):
        chunks = _inflated(chunks, encoding, host)
    pieces, size = [], 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise too_many_bytes(host, max_bytes, "packs" if encoding in PACKED else "sends")
        pieces.append(chunk)
    return b"".join(pieces)


def _inflated(chunks: Iterable[bytes], encoding: str, host: str) -> Iterator[bytes]:
    if encoding not in PACKED:
        raise FetchError("server_failed", f"{host} packs its answer as {encoding[:40]!r}, which it was not asked to do")
    machine = zlib.decompressobj(PACKED[encoding])
    try:
        for chunk in chunks:
            while chunk:
                yield machine.decompress(chunk, PIECE_BYTES)
                chunk = machine.unconsumed_tail
    except zlib.error as error:
        raise FetchError("truncated", f"{host} sends a packed body that cannot be unpacked ({error})") from None
    if not machine.eof:
        raise FetchError("truncated", f"{host} sends a packed body that breaks off")
