"""Reports of commands that list something: lines for people, the same as data for programs (`--json`)."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.core.records import Report

WIDTH = 120  # of a table; a terminal folds what is wider


@dataclass(frozen=True)
class Listing(Report):
    """What was listed, as `data` that JSON can hold; it is a result, so `--quiet` prints it too."""

    data: Any = None

    @property
    def json_text(self) -> str:
        return json.dumps(self.data, indent=2, ensure_ascii=False)


def table_lines(table: Table) -> tuple[str, ...]:
    """A table as text, without styles."""
    sink = io.StringIO()
    Console(file=sink, width=WIDTH, highlight=False, markup=False).print(table)
    return tuple(line.rstrip() for line in sink.getvalue().splitlines())
