"""One look at the sources of a species, over as many runs as it takes: a run that was killed goes on with it.

During a look no API is asked the same question twice; the next look asks afresh.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.io.files import atomic_write

STALE_SECONDS = 2 * 86400.0  # answers older than this say nothing about today


@dataclass(frozen=True)
class CrawlSession:
    """`number` counts the looks of a species; `folder` holds the note about the one under way."""

    folder: Path
    number: int

    @property
    def name(self) -> str:
        return f"{self.folder.name}-{self.number}"

    def finish(self) -> None:
        atomic_write.write_json(self.folder / "look.json", {"number": self.number + 1, "began": None})


def begin(folder: Path) -> CrawlSession:
    """The look under way, or a new one when there is none or it is too old; InputError when the note is damaged."""
    note = folder / "look.json"
    last = atomic_write.read_json(note) if note.is_file() else {"number": 1, "began": None}
    try:
        number, began = int(last["number"]), last["began"]
        stale = began is not None and time.time() - float(began) > STALE_SECONDS
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{note} is damaged; delete it") from None
    if stale or began is None:
        number += stale
        atomic_write.write_json(note, {"number": number, "began": time.time()})
    return CrawlSession(folder, number)
