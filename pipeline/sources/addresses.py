"""A list of picture addresses as a source: txt (one a line), csv, jsonl or parquet.

Columns, in any order and in small or capital letters: `url` (or `image_url`), `licence` (or `license`), `author`,
`title`, `caption`, `page_url`, `id`; others are ignored. A value of a
row outranks the one that params.yaml gives for all rows.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from pipeline.core import strict_json
from pipeline.core.errors import InputError
from pipeline.core.param_types import SourceParams, Text
from pipeline.core.records import Candidate, Rejection
from pipeline.sources.json_reader import clean, web_address
from pipeline.sources.licences import address_of, spdx
from pipeline.sources.source import Offer, Source, SourceContext

COLUMNS = {
    "url": "url",
    "image_url": "url",
    "licence": "licence",
    "license": "licence",
    "author": "author",
    "title": "title",
    "caption": "caption",
    "page_url": "page_url",
    "id": "id",
}
Row = dict[str, str]
Rows = Iterator[tuple[int, Row]]  # with the number of the line (of the row in parquet), counted from one


class AddressesParams(SourceParams):
    """A list of picture addresses: txt (one a line), csv, jsonl or parquet."""

    kind: Literal["addresses"]
    path: Text
    licence: str = ""
    """Of rows that bring none of their own."""
    author: str = ""
    trusted: bool = False
    """Chosen by hand, so curation does not judge what a picture shows."""

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.path}"

    @property
    def is_trusted(self) -> bool:
        return self.trusted


class AddressesSource(Source[AddressesParams]):
    Params = AddressesParams

    def check(self, params: AddressesParams, root: Path) -> None:
        path = root / params.path
        if path.suffix.lower() not in READERS:
            raise InputError(f"the list {params.path!r} is none of {', '.join(READERS)}; save it as one of them")
        if not path.is_file():
            problem = "is no file" if path.exists() else "is not there"
            raise InputError(f"the list {params.path!r} {problem}; put it there or correct `path:` in params.yaml")

    def pictures(self, params: AddressesParams, context: SourceContext) -> Iterator[Offer]:
        """The addresses in the order of the list, each once.

        Raises
        ------
        InputError
            When there is no such list, it is of another kind, has no column with addresses, or a line cannot be read.
        """
        self.check(params, context.root)
        path = context.root / params.path
        yield from _offers(params, _read(READERS[path.suffix.lower()], path, params.path))


def _read(read: Callable[[Path, str], Rows], path: Path, named: str) -> Rows:
    try:
        yield from read(path, named)
    except UnicodeDecodeError:
        raise InputError(f"the list {named!r} is no UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"the list {named!r} cannot be read ({error.strerror or error})") from error


def _offers(source: AddressesParams, rows: Rows) -> Iterator[Offer]:
    urls: set[str] = set()
    ids: set[str] = set()
    for line, row in rows:
        url = row.get("url", "")
        if url and url in urls:
            continue
        urls.add(url)
        key = row.get("id") or url or f"line {line}"
        key = f"{key} (line {line})" if key in ids else key  # two rows may not be one row of the manifest
        ids.add(key)
        yield _candidate(source, key, url, row), _refuse(url, line)


def _candidate(source: AddressesParams, key: str, url: str, row: Row) -> Candidate:
    text = row.get("licence") or source.licence
    licence = spdx(text) or ("" if row.get("licence") else text)  # params.yaml may have a name of its own allow-list
    return Candidate(
        source.label,
        key,
        web_address(url),
        web_address(row.get("page_url", "")),
        row.get("title", ""),
        row.get("caption", ""),
        row.get("author") or source.author,
        licence,
        address_of(licence),
        "",
        text,
    )


def _refuse(url: str, line: int) -> Rejection | None:
    if web_address(url):
        return None
    return Rejection("addresses", "no_address", f"Line {line} has {url!r} as its address, not one with http(s).")


def _of_text(path: Path, named: str) -> Rows:
    with path.open(encoding="utf-8-sig") as stream:
        for line, text in enumerate(stream, start=1):
            url = clean(text.partition(" #")[0])
            if url and not url.startswith("#"):
                yield line, {"url": url}


def _of_csv(path: Path, named: str) -> Rows:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        try:
            columns = _columns(next(reader, []), named)
            for values in reader:
                if any(values):
                    yield reader.line_num, _row(dict(zip(columns, values)))
        except csv.Error as error:
            raise InputError(f"line {reader.line_num} of {named!r} is no CSV ({error}); correct or remove it") from None


def _of_jsonl(path: Path, named: str) -> Rows:
    with path.open(encoding="utf-8-sig") as stream:
        for line, text in enumerate(stream, start=1):
            if text.strip():
                record = _object(text, line, named)
                yield line, _row(dict(zip(_columns(list(record), named, f"line {line} of "), record.values())))


def _object(text: str, line: int, named: str) -> dict[str, Any]:
    try:
        record = strict_json.parse(text)
    except ValueError as error:
        raise InputError(f"line {line} of {named!r} is no JSON ({error}); correct or remove it") from None
    if not isinstance(record, dict):
        raise InputError(f'line {line} of {named!r} is no JSON object such as {{"url": "https://..."}}')
    return record


def _of_parquet(path: Path, named: str) -> Rows:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path)
        columns = dict(zip(table.schema_arrow.names, _columns(table.schema_arrow.names, named)))
        wanted = [name for name, column in columns.items() if column]
        line = 0
        for batch in table.iter_batches(columns=wanted):
            for record in batch.to_pylist():
                line += 1
                yield line, _row({columns[name]: value for name, value in record.items()})
    except pyarrow.ArrowException as error:
        raise InputError(f"the list {named!r} is no parquet file that can be read ({clean(str(error))})") from None


def _columns(names: list[str], named: str, where: str = "") -> list[str]:
    """What each column is; empty for one that is ignored. InputError when none holds addresses."""
    found = [COLUMNS.get(name.strip().lower(), "") for name in names]
    if "url" not in found:
        has = ", ".join(map(repr, names[:20])) or "nothing"
        raise InputError(f"{where}{named!r} has no column 'url' or 'image_url'; it has {has}")
    return found


def _row(record: dict[str, Any]) -> Row:
    """The named columns as text; absent for null."""
    return {key: clean(str(value)) for key, value in record.items() if key and value is not None and value == value}


READERS: dict[str, Callable[[Path, str], Rows]] = {
    ".txt": _of_text,
    ".csv": _of_csv,
    ".jsonl": _of_jsonl,
    ".parquet": _of_parquet,
}
