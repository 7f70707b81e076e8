"""GBIF's backbone: questions about names (version 1 of the API), and what the answers say (versions 1 and 2).

`matchType` is what matters: EXACT is the name, FUZZY a similar one, HIGHERRANK something that contains whatever was
meant, and NONE also "several taxa have this name", which then stand among the alternatives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import ServiceError
from pipeline.core.records import Request
from pipeline.taxonomy.answers import identifier, items, listed, number, section, text
from pipeline.taxonomy.usage import Usage, same_name

WHO = "GBIF"
SPECIES = "https://api.gbif.org/v1/species"
PAGE = "https://www.gbif.org/species/{}"
CLASSES = ("kingdom", "phylum", "class", "order", "family", "genus")
ACCEPTED = ("ACCEPTED", "DOUBTFUL", "PROVISIONALLY_ACCEPTED", "")
KINDS = ("EXACT", "FUZZY", "HIGHERRANK", "NONE", "VARIANT", "CANONICAL", "AMBIGUOUS", "UNSUPPORTED")
SPELLINGS = ("FUZZY", "VARIANT")  # the same name, spelt in another way


@dataclass(frozen=True)
class Match:
    """What GBIF makes of a name: taxa that have exactly it, or else the nearest that it found."""

    kind: str
    exact: tuple[Usage, ...] = ()
    nearest: Usage | None = None


def named(name: str) -> Request:
    return Request(f"{SPECIES}/match", (("name", name), ("strict", "false"), ("verbose", "true")))


def taxon(key: int) -> Request:
    return Request(f"{SPECIES}/{key}")


def synonyms(key: int) -> Request:
    return Request(f"{SPECIES}/{key}/synonyms", (("limit", "1000"),))


def match(value: Any, name: str) -> Match:
    """Read an answer to `named`.

    A HIGHERRANK match counts as exact only where it has the very name that was asked for: a misspelt species is
    answered with its whole family.
    """
    answer = section(value, WHO)
    diagnostics = section(answer.get("diagnostics", answer), WHO, "diagnostics")
    kind = text(diagnostics, WHO, "matchType")
    if kind not in KINDS:
        raise ServiceError(f"{WHO} answered with 'matchType' = {kind!r}; known are {', '.join(KINDS)}")
    offered = [answer] if "usage" in answer or "usageKey" in answer else []
    found = [_matched(entry) for entry in (*offered, *items(diagnostics, WHO, "alternatives"))]
    nearest = found[0] if offered else None
    return Match(kind, _distinct(usage for usage in found if same_name(usage.name, name)), nearest)


def usage(value: Any) -> Usage:
    """Read an answer to `taxon`."""
    record = section(value, WHO)
    key, name = identifier(record, WHO, "key"), _name(record)
    if key is None or not name:
        raise ServiceError(f"{WHO} answered with a taxon without 'key' or 'canonicalName'; its answers have changed")
    accepted = _bare(text(record, WHO, "accepted")) or name
    return _built(record, key, name, identifier(record, WHO, "acceptedKey"), accepted, _status(record))


def names(value: Any, accepted: str) -> tuple[str, ...]:
    """The other names in a list of synonyms."""
    told = {_name(record) for record in listed(value, WHO, "results")}
    return tuple(sorted(name for name in told if name and not same_name(name, accepted)))


def _matched(entry: Mapping[str, Any]) -> Usage:
    """A match or an alternative: flat in version 1, nested in version 2."""
    if "usage" not in entry:
        key, to = identifier(entry, WHO, "usageKey"), identifier(entry, WHO, "acceptedUsageKey")
        accepted = text(entry, WHO, text(entry, WHO, "rank").lower() or "species") if to else ""
        return _built(entry, _known(key, "usageKey"), _name(entry), to, accepted, _status(entry))
    usage, to = section(entry["usage"], WHO, "usage"), section(entry.get("acceptedUsage", {}), WHO, "acceptedUsage")
    ladder = {text(step, WHO, "rank").lower(): text(step, WHO, "name") for step in items(entry, WHO, "classification")}
    diagnostics = section(entry.get("diagnostics", {}), WHO, "diagnostics")
    flat = {**ladder, **diagnostics, "rank": text(usage, WHO, "rank")}
    key = _known(identifier(usage, WHO, "key"), "key")
    return _built(flat, key, _name(usage), identifier(to, WHO, "key"), _name(to), _status(usage))


def _built(record: Mapping[str, Any], key: int, name: str, to: int | None, accepted: str, status: str) -> Usage:
    rank = text(record, WHO, "rank").lower().replace("_", " ")
    return Usage(
        key,
        name,
        rank,
        to or key,
        accepted or name,
        rank,
        reason="" if status in ACCEPTED else status.lower().replace("_", " "),
        path=tuple(filter(None, (text(record, WHO, step) for step in CLASSES if step != rank))),
        phylum=text(record, WHO, "phylum"),
        match=_certainty(record),
    )


def _certainty(record: Mapping[str, Any]) -> str:
    kind, confidence = text(record, WHO, "matchType"), number(record, WHO, "confidence")
    return kind if confidence is None else f"{kind}, confidence {confidence:g}"


def _status(record: Mapping[str, Any]) -> str:
    return text(record, WHO, "status", "taxonomicStatus")


def _name(record: Mapping[str, Any]) -> str:
    return text(record, WHO, "canonicalName") or _bare(text(record, WHO, "scientificName", "name"))


def _bare(name: str) -> str:
    """Without the author: what follows the last lower-case epithet, or the first word."""
    words = name.split()
    epithets = [word for word in words[1:3] if word.isalpha() and word.islower()]
    return " ".join([*words[:1], *epithets])


def _known(key: int | None, name: str) -> int:
    if key is None:
        raise ServiceError(f"{WHO} answered with a match without {name!r}; its answers have changed")
    return key


def _distinct(usages) -> tuple[Usage, ...]:
    """One for each accepted taxon; what GBIF named first stands for it."""
    found: dict[int, Usage] = {}
    for usage in usages:
        found.setdefault(usage.accepted_key, usage)
    return tuple(found.values())
