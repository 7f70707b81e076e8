"""Crawl sessions: one pass over the sources of a species, over as many runs as it takes.

A run that was killed continues its session. Within a session no API is sent the same request twice; the next session
requests everything again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core import stored_json
from pipeline.io.files import atomic_write

RECORD_KEYS: stored_json.Keys = {"number": int, "began": (int, float, type(None))}
STALE_SECONDS = 2 * 86400.0  # responses older than this say nothing about today
FILE = "look.json"  # the name that version 0.1.0 gave it: numbers must go on where that version stopped


@dataclass(frozen=True)
class CrawlSession:
    """`number` counts the sessions of a species; `folder` holds the record of the one under way."""

    folder: Path
    number: int

    @property
    def name(self) -> str:
        return f"{self.folder.name}-{self.number}"

    def finish(self) -> None:
        atomic_write.write_json(self.folder / FILE, {"number": self.number + 1, "began": None})


def begin(folder: Path) -> CrawlSession:
    """The session under way, or a new one when there is none or it is stale; InputError when its file is damaged."""
    file = folder / FILE
    fresh: dict[str, Any] = {"number": 1, "began": None}
    last = atomic_write.read_json(file, RECORD_KEYS) if file.is_file() else fresh
    number, began = last["number"], last["began"]
    stale = began is not None and time.time() - began > STALE_SECONDS
    if stale or began is None:
        number += stale
        atomic_write.write_json(file, {"number": number, "began": time.time()})
    return CrawlSession(folder, number)
