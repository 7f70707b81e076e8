"""What may be kept, by what sources say about it: licences, contradictions, the same file again.

Rows are those of `manifest.parquet` as dicts. A function here returns why a row is refused and never changes one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pipeline.core.licences import accepted
from pipeline.core.reason_codes import ReasonCode
from pipeline.core.records import Candidate, Rejection

Row = dict[str, Any]

LICENSED = "with a licence that is allowed"
CODES = (
    ReasonCode("licence_missing", LICENSED, "Licence missing"),
    ReasonCode("licence_unknown", LICENSED, "Licence unknown"),
    ReasonCode("licence_refused", LICENSED, "Licence refused"),
    ReasonCode("sources_disagree", LICENSED, "Sources disagree"),
    ReasonCode("same_bytes", "each file once", "Same bytes"),
)


def spelled(licence: str, known: Sequence[str]) -> str:
    """A licence as params.yaml spells it: SPDX names mean the same in capitals and small letters."""
    return next((name for name in known if name.casefold() == licence.strip().casefold()), licence.strip())


def refuse_licence(candidate: Candidate, policy: Sequence[str]) -> Rejection | None:
    """Absent, unknown, or not on the allow-list."""
    allowed = f"accepted are {', '.join(policy) or 'none'} (collect.licences in params.yaml)"
    if not candidate.licence and not candidate.licence_text.strip():
        return Rejection("licence", "licence_missing", f"It names no licence; {allowed}.")
    if not candidate.licence:
        text = " ".join(candidate.licence_text.split())[:80]
        return Rejection("licence", "licence_unknown", f"Nobody knows the licence {text!r}; {allowed}.")
    if not accepted(candidate.licence, policy):
        return Rejection("licence", "licence_refused", f"Its licence is {candidate.licence!r}; {allowed}.")
    return None


def disagreements(rows: Iterable[Mapping[str, Any]], key: str) -> dict[str, Rejection]:
    """By the value of column `key`: pictures that two sources offer under different licences.

    `key` is "image_url" (before anything is downloaded) or "sha256". Nobody can say which of the two is right, so
    neither copy is taken. A source that names no licence contradicts nothing.
    """
    said: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        if row[key] and row["licence"]:
            said[_same(row[key])].setdefault(row["source"], row["licence"])
    return {value: _disagree(by_source) for value, by_source in said.items() if len(set(by_source.values())) > 1}


def disagreement(row: Mapping[str, Any], key: str, found: Mapping[str, Rejection]) -> Rejection | None:
    return found.get(_same(row[key])) if row[key] and row["licence"] else None


def again(rows: Iterable[Mapping[str, Any]]) -> dict[int, Rejection]:
    """By place in `rows`: files whose bytes an earlier one had."""
    first: dict[str, str] = {}
    found = {}
    for place, row in enumerate(rows):
        if not row["sha256"] or row["reason_code"]:
            continue
        if row["sha256"] in first:
            found[place] = same_bytes(first[row["sha256"]])
        first.setdefault(row["sha256"], row["source_id"])
    return found


def same_bytes(source_id: str) -> Rejection:
    return Rejection("bytes", "same_bytes", f"It is the very file of {source_id!r}, byte for byte.")


def _disagree(by_source: Mapping[str, str]) -> Rejection:
    said = ", ".join(f"{source} says {licence}" for source, licence in by_source.items())
    return Rejection("licence", "sources_disagree", f"{said}: nobody knows which is right, so it is not taken.")


def _same(value: str) -> str:
    """One spelling of an address: http and https lead to the same picture, a fragment says nothing."""
    if "://" not in value:
        return value
    parts = urlsplit(value)
    return f"{parts.netloc.casefold()}{parts.path}?{parts.query}"
