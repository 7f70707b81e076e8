"""GBIF's backbone: requests for names (version 1 of the API), and how the responses are read (versions 1 and 2).

`matchType` decides: EXACT is the name, FUZZY a similar one, HIGHERRANK something that contains whatever was
meant, and NONE also "several taxa have this name", which then stand among the alternatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.data_params import Host
from pipeline.core.errors import ServiceError
from pipeline.core.records import Request
from pipeline.taxonomy.response_fields import as_object, identifier, items, number, required_items, shown, text
from pipeline.taxonomy.usage import Usage, same_name

NAME = "GBIF"
HOSTS = {"api.gbif.org": Host(connections=1, requests_per_second=1)}
SPECIES = "https://api.gbif.org/v1/species"
PAGE = "https://www.gbif.org/species/{}"
CLASSES = ("kingdom", "phylum", "class", "order", "family", "genus")
ACCEPTED = ("ACCEPTED", "DOUBTFUL", "PROVISIONALLY_ACCEPTED", "")
KINDS = ("EXACT", "FUZZY", "HIGHERRANK", "NONE", "VARIANT", "CANONICAL", "AMBIGUOUS", "UNSUPPORTED")
SPELLINGS = ("FUZZY", "VARIANT")  # the same name, spelt in another way


@dataclass(frozen=True)
class Match:
    """The taxa that have exactly a name, or else the nearest that GBIF found."""

    kind: str
    exact: tuple[Usage, ...] = ()
    nearest: Usage | None = None


def name_request(name: str) -> Request:
    return Request(f"{SPECIES}/match", (("name", name), ("strict", "false"), ("verbose", "true")))


def taxon_request(key: int) -> Request:
    return Request(f"{SPECIES}/{key}")


def synonyms_request(key: int) -> Request:
    return Request(f"{SPECIES}/{key}/synonyms", (("limit", "1000"),))


def read_match(value: Any, name: str) -> Match:
    """Read a response to `name_request`.

    A HIGHERRANK match counts as exact only where it has the very name that was requested: for a misspelt
    species GBIF returns its whole family.
    """
    response = as_object(value, NAME)
    diagnostics = as_object(response.get("diagnostics", response), NAME, "diagnostics")
    kind = text(diagnostics, NAME, "matchType")
    if kind not in KINDS:
        raise ServiceError(f"{NAME} responded with 'matchType' = {shown(kind)}; known are {', '.join(KINDS)}")
    offered = [response] if "usage" in response or "usageKey" in response else []
    found = [_matched(entry) for entry in (*offered, *items(diagnostics, NAME, "alternatives"))]
    nearest = found[0] if offered else None
    return Match(kind, _distinct(usage for usage in found if same_name(usage.name, name)), nearest)


def read_taxon(value: Any) -> Usage:
    """Read a response to `taxon_request`."""
    record = as_object(value, NAME)
    key, name = identifier(record, NAME, "key"), _name(record)
    if key is None or not name:
        raise ServiceError(
            f"{NAME} responded with a taxon without 'key' or 'canonicalName'; its responses have changed"
        )
    accepted = _bare(text(record, NAME, "accepted")) or name
    return _built(record, key, name, identifier(record, NAME, "acceptedKey"), accepted, _status(record))


def synonym_names(value: Any, accepted: str) -> tuple[str, ...]:
    """Read a response to `synonyms_request`: the other names."""
    found = {_name(record) for record in required_items(value, NAME, "results")}
    return tuple(sorted(name for name in found if name and not same_name(name, accepted)))


def _matched(entry: Mapping[str, Any]) -> Usage:
    """A match or an alternative: flat in version 1, nested in version 2."""
    if "usage" not in entry:
        key, to = identifier(entry, NAME, "usageKey"), identifier(entry, NAME, "acceptedUsageKey")
        accepted = text(entry, NAME, text(entry, NAME, "rank").lower() or "species") if to else ""
        return _built(entry, _known(key, "usageKey"), _name(entry), to, accepted, _status(entry))
    usage = as_object(entry["usage"], NAME, "usage")
    accepted_usage = as_object(entry.get("acceptedUsage", {}), NAME, "acceptedUsage")
    ladder = {
        text(step, NAME, "rank").lower(): text(step, NAME, "name") for step in items(entry, NAME, "classification")
    }
    diagnostics = as_object(entry.get("diagnostics", {}), NAME, "diagnostics")
    flat = {**ladder, **diagnostics, "rank": text(usage, NAME, "rank")}
    key = _known(identifier(usage, NAME, "key"), "key")
    accepted_key = identifier(accepted_usage, NAME, "key")
    return _built(flat, key, _name(usage), accepted_key, _name(accepted_usage), _status(usage))


def _built(record: Mapping[str, Any], key: int, name: str, to: int | None, accepted: str, status: str) -> Usage:
    rank = text(record, NAME, "rank").lower().replace("_", " ")
    return Usage(
        key,
        name,
        rank,
        to or key,
        accepted or name,
        rank,
        reason="" if status in ACCEPTED else status.lower().replace("_", " "),
        path=tuple(filter(None, (text(record, NAME, step) for step in CLASSES if step != rank))),
        phylum=text(record, NAME, "phylum"),
        match=_certainty(record),
    )


def _certainty(record: Mapping[str, Any]) -> str:
    kind, confidence = text(record, NAME, "matchType"), number(record, NAME, "confidence")
    return kind if confidence is None else f"{kind}, confidence {confidence:g}"


def _status(record: Mapping[str, Any]) -> str:
    return text(record, NAME, "status", "taxonomicStatus")


def _name(record: Mapping[str, Any]) -> str:
    return text(record, NAME, "canonicalName") or _bare(text(record, NAME, "scientificName", "name"))


def _bare(name: str) -> str:
    """Without the author: what follows the last lower-case epithet, or the first word."""
    words = name.split()
    epithets = [word for word in words[1:3] if word.isalpha() and word.islower()]
    return " ".join([*words[:1], *epithets])


def _known(key: int | None, name: str) -> int:
    if key is None:
        raise ServiceError(f"{NAME} responded with a match without {name!r}; its responses have changed")
    return key


def _distinct(usages: Iterable[Usage]) -> tuple[Usage, ...]:
    """One for each accepted taxon: the one that GBIF named first."""
    found: dict[int, Usage] = {}
    for usage in usages:
        found.setdefault(usage.accepted_key, usage)
    return tuple(found.values())
