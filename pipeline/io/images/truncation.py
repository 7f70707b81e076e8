"""Truncation detection: whether a picture's file is all there, because decoders do not always report a missing end.

A JPEG must have its end mark and every scan that its pixels need: a progressive one cut between two scans and ended
properly is a perfect file of a soft picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

END_OF_IMAGE, START_OF_SCAN = 0xD9, 0xDA
# Start of frame: baseline, extended, progressive; the same with arithmetic coding. Nothing is claimed of the others.
SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1, 0xC9), (0xC2, 0xCA)
NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # not stuffing, not a restart, not padding
COEFFICIENTS = 64  # of a block
NO_BIT = 255  # above every bit


def is_complete(content: bytes, form: str) -> bool:
    """False when the mark that ends a file of this format, or a scan that its pixels need, is missing."""
    if form == "JPEG":
        return _jpeg_is_complete(content)
    if form == "PNG":
        return b"IEND\xaeB`\x82" in content
    if form == "WEBP":
        return int.from_bytes(content[4:8], "little") + 8 <= len(content)
    return True


def _jpeg_is_complete(content: bytes) -> bool:
    """Judged after the segments before the first scan, which may hold a thumbnail with an end of its own."""
    at, frame = 2, 0
    known: dict[int, list[int]] = {}
    for marker, at in _segments(content):
        if marker in (*SEQUENTIAL, *PROGRESSIVE):
            frame, known = marker, _nothing_known(content, at)
        if marker == START_OF_SCAN and known and not _scans_suffice(content, at, frame, known):
            return False
    return content.find(b"\xff\xd9", at) >= 0


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """(marker, where its body starts), until the pixels of a scan or what is no segment: lengths may lie."""
    at = 2
    while content[at : at + 1] == b"\xff" and at + 4 <= len(content):
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        yield marker, at + 4
        if marker in (0x00, START_OF_SCAN, END_OF_IMAGE):
            return
        at += 2 + max(2, int.from_bytes(content[at + 2 : at + 4], "big"))


def _nothing_known(content: bytes, at: int) -> dict[int, list[int]]:
    """By component: down to which bit each coefficient is known, before any scan."""
    components = content[at + 6 : at + 6 + 3 * content[at + 5] : 3] if len(content) > at + 5 else b""
    return {component: [NO_BIT] * COEFFICIENTS for component in components}


def _scans_suffice(content: bytes, at: int, frame: int, known: dict[int, list[int]]) -> bool:
    """Whether the scans from `at` on hold every coefficient of every component down to its last bit."""
    marker: int | None = START_OF_SCAN
    while marker is not None:
        if marker == START_OF_SCAN:
            _read_scan(content, at, frame, known)
            if not any(map(any, known.values())):
                return True
        found = NEXT_MARKER.search(content, at)
        marker, at = (content[found.start() + 1], found.start() + 4) if found else (None, at)
        if marker == END_OF_IMAGE:
            return False
        if marker not in (None, START_OF_SCAN):
            at += int.from_bytes(content[at - 2 : at], "big") - 2  # tables between the scans
    return False


def _read_scan(content: bytes, at: int, frame: int, known: dict[int, list[int]]) -> None:
    """Add to `known` the bits of the scan whose header starts at `at`; a header that is cut adds none."""
    count = content[at] if at < len(content) else 0
    spectrum = content[at + 1 + 2 * count : at + 4 + 2 * count]
    if len(spectrum) < 3:
        return
    first, last, bit = (spectrum[0], spectrum[1], spectrum[2] & 15) if frame in PROGRESSIVE else (0, 63, 0)
    for component in content[at + 1 : at + 1 + 2 * count : 2]:
        for coefficient in range(first, min(last, COEFFICIENTS - 1) + 1):
            bits = known.get(component)
            if bits:
                bits[coefficient] = min(bits[coefficient], bit)
