"""Reviews of people: `data/reviews/<species>.csv`, one verdict on each picture, kept in git.

    sha256,verdict,why,who,when
    9f86d0…,drop,shows a bird,Ada,2026-03-01T10:20:30Z

`verdict` is keep or drop, `when` an ISO 8601 time in UTC (a date will do, or nothing). A picture that stands in a
file twice, as after two people's branches came together, has the later verdict.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from pipeline.core.errors import InputError
from pipeline.io.files.atomic_write import write_text

COLUMNS = ["sha256", "verdict", "why", "who", "when"]
VERDICTS = ("keep", "drop")
HASH = re.compile(r"[0-9a-f]{64}")
NEVER = float("-inf")  # of a line without a time: any other is later
SHOWN = 60  # characters of a bad line in a message


def read(path: Path) -> pd.DataFrame:
    """One row per picture, sorted by `sha256`; the columns are `COLUMNS`, all text. A missing file has no rows.

    Raises
    ------
    InputError
        When it is no such table, with the number of the first line that is not as it should be.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return _frame([])
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text (byte {error.start}); save it as CSV in UTF-8") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name the CSV file that the page saved") from None
    return latest(_frame(list(_rows(text, path))))


def write(path: Path, reviews: pd.DataFrame) -> None:
    """Write atomically, sorted by `sha256`, so that git shows what changed and nothing else."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([COLUMNS, *reviews.sort_values("sha256")[COLUMNS].itertuples(index=False)])
    write_text(path, stream.getvalue())


def merge(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Both together: of two verdicts on a picture the later one stands, and `theirs` where they are of one time."""
    return latest(pd.concat([ours, theirs], ignore_index=True))


def latest(reviews: pd.DataFrame) -> pd.DataFrame:
    """The last verdict on each picture, sorted by `sha256`."""
    ordered = reviews.sort_values("when", key=lambda column: column.map(_time), kind="stable")
    return ordered.drop_duplicates("sha256", keep="last").sort_values("sha256", ignore_index=True)


def _frame(rows: list[list[str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS, dtype="str")


def _rows(text: str, path: Path) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_header(next(reader, []), path)
        for row in reader:
            if row:  # an empty line is none
                yield _validated([field.strip() for field in row], f"{path}, line {reader.line_num}")
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: {error}; correct the line or save the review again"
        ) from None


def _check_header(header: list[str], path: Path) -> None:
    if [name.strip() for name in header] != COLUMNS:
        raise InputError(
            f"{path}, line 1: the columns are {_short(','.join(header))!r}, they must be {','.join(COLUMNS)!r}"
        )


def _validated(row: list[str], where: str) -> list[str]:
    if len(row) != len(COLUMNS):
        raise InputError(
            f"{where}: {len(row)} fields instead of {len(COLUMNS)} ({_short(','.join(row))!r}); correct it"
        )
    sha256, verdict, when = row[0].lower(), row[1].lower(), row[4]
    if not HASH.fullmatch(sha256):
        raise InputError(f"{where}: {_short(sha256)!r} is no sha256 of a picture (64 hexadecimal digits)")
    if verdict not in VERDICTS:
        raise InputError(f"{where}: the verdict is {_short(verdict)!r}, it must be keep or drop")
    _check_time(when, where)
    return [sha256, verdict, *row[2:]]


def _check_time(text: str, where: str) -> None:
    try:
        _time(text)
    except ValueError:
        raise InputError(f"{where}: {_short(text)!r} is no time such as 2026-03-01T10:20:30Z") from None


def _time(text: str) -> float:
    """Seconds since 1970; a time without a zone is UTC."""
    if not text:
        return NEVER
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
