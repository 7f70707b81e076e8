"""The Paleobiology Database, data service 1.2: questions about taxa, and what the answers say.

The vocabulary `pbdb` is asked for, the compact one understood too. Ids are of two kinds: `txn:` (`orig_no`) is a taxon,
`var:` (`taxon_no`) one spelling of its name. Data CC BY 4.0: The Paleobiology Database, https://paleobiodb.org.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.errors import ServiceError
from pipeline.core.records import Request
from pipeline.taxonomy.answers import identifier, listed, number, text
from pipeline.taxonomy.usage import Usage, same_name

WHO = "the Paleobiology Database"
TAXA = "https://paleobiodb.org/data1.2/taxa"
PAGE = "https://paleobiodb.org/classic/basicTaxonInfo?taxon_no={}"
SHOW = ("show", "attr,app,parent,class,size")
VOCABULARY = ("vocab", "pbdb")
CLASSES = (("phylum", "phl"), ("class", "cll"), ("order", "odl"), ("family", "fml"), ("genus", "gnl"))
# the codes of the compact vocabulary
RANKS = {
    2: "subspecies",
    3: "species",
    4: "subgenus",
    5: "genus",
    6: "subtribe",
    7: "tribe",
    8: "subfamily",
    9: "family",
    10: "superfamily",
    11: "infraorder",
    12: "suborder",
    13: "order",
    14: "superorder",
    15: "infraclass",
    16: "subclass",
    17: "class",
    18: "superclass",
    19: "subphylum",
    20: "phylum",
    21: "superphylum",
    22: "subkingdom",
    23: "kingdom",
    25: "unranked clade",
    26: "informal",
}
EXTANT = {"extant": True, "extinct": False, "1": True, "0": False, "": None, "?": None}
MISSPELT = "misspelling of"


def named(name: str) -> Request:
    """Every taxon of that name: homonyms come as several records, an unknown name as none."""
    return Request(f"{TAXA}/list.json", (("match_name", name), SHOW, VOCABULARY))


def like(name: str) -> Request:
    """Names that begin alike: of genera and above for one word, of species for two."""
    words = name.split()
    pattern = f"{words[0][:5]}%" + (" %" if len(words) > 1 else "")
    return Request(f"{TAXA}/list.json", (("match_name", pattern), ("limit", "500"), VOCABULARY))


def taxon(key: int) -> Request:
    return Request(f"{TAXA}/single.json", (("id", f"txn:{key}"), SHOW, VOCABULARY))


def parents(key: int) -> Request:
    return Request(f"{TAXA}/list.json", (("id", f"txn:{key}"), ("rel", "all_parents"), ("show", "parent"), VOCABULARY))


def synonyms(key: int) -> Request:
    return Request(f"{TAXA}/list.json", (("id", f"txn:{key}"), ("rel", "synonyms"), VOCABULARY))


def usages(value: Any) -> tuple[Usage, ...]:
    """The records of an answer; ServiceError when it is an error, or not of the agreed shape."""
    return tuple(_usage(record) for record in _records(value))


def names(value: Any, accepted: str) -> tuple[str, ...]:
    """The other names in a list of synonyms, misspellings left out."""
    told = [usage for usage in usages(value) if MISSPELT not in usage.reason]
    return tuple(sorted({usage.name for usage in told if not same_name(usage.name, accepted)}))


def path(value: Any, key: int) -> tuple[str, ...]:
    """The taxa that contain `key`, from the widest, by following each to its parent."""
    known = {identifier(record, WHO, "orig_no", "oid"): record for record in _records(value)}
    found: list[str] = []
    record = known.pop(key, None) or _narrowest(known)
    if record and identifier(record, WHO, "orig_no", "oid") != key:
        found.append(text(record, WHO, "taxon_name", "nam"))
    while record and (record := known.pop(identifier(record, WHO, "parent_no", "par"), None)):
        found.append(text(record, WHO, "taxon_name", "nam"))
    return _from_animals(tuple(reversed(found)))


def _narrowest(known: Mapping[Any, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The record that is nobody's parent, where the taxon itself is not in the list."""
    containing = {identifier(record, WHO, "parent_no", "par") for record in known.values()}
    return next((record for number, record in known.items() if number not in containing), None)


def _from_animals(names: tuple[str, ...]) -> tuple[str, ...]:
    """Without what stands above the animals: nobody asks here for more."""
    first = next((i for i, name in enumerate(names) if name in ("Animalia", "Metazoa")), 0)
    return names[first:]


def _records(value: Any) -> tuple[Mapping[str, Any], ...]:
    return listed(value, WHO, "records")


def _usage(record: Mapping[str, Any]) -> Usage:
    key, name, rank = _identity(record, ("orig_no", "oid", "taxon_no"), ("taxon_name", "nam"), ("taxon_rank", "rnk"))
    if key is None or not name:
        raise ServiceError(f"{WHO} answered with a taxon without 'orig_no' or 'taxon_name'; its answers have changed")
    # the compact vocabulary leaves these out where they are the same
    to, accepted, wider = _identity(record, ("accepted_no", "acc"), ("accepted_name", "acn"), ("accepted_rank", "acr"))
    return Usage(
        key,
        name,
        rank,
        to or key,
        accepted or name,
        wider or rank,
        reason=text(record, WHO, "difference", "tdf"),
        path=tuple(filter(None, (_class(record, fields) for fields in CLASSES))),
        phylum=_class(record, CLASSES[0]),
        interval_ma=_interval(record),
        extant=_extant(record),
    )


def _identity(record, key: tuple[str, ...], name: tuple[str, ...], rank: tuple[str, ...]) -> tuple:
    return identifier(record, WHO, *key), text(record, WHO, *name), _rank(record, rank)


def _rank(record: Mapping[str, Any], names: tuple[str, ...]) -> str:
    value = next((record[name] for name in names if record.get(name) is not None), "")
    if isinstance(value, str) and not value.isdecimal():
        return text(record, WHO, *names)
    return RANKS.get(int(number(record, WHO, *names) or 0), "unranked clade")


def _class(record: Mapping[str, Any], fields: tuple[str, str]) -> str:
    """A class of the Linnean ladder; placeholders such as NO_FAMILY_SPECIFIED are none."""
    name = text(record, WHO, *fields)
    return "" if name.startswith("NO_") else name


def _interval(record: Mapping[str, Any]) -> tuple[float, float] | None:
    oldest = number(record, WHO, "firstapp_max_ma", "fea")
    youngest = number(record, WHO, "lastapp_min_ma", "lla")
    return None if oldest is None or youngest is None else (oldest, youngest)


def _extant(record: Mapping[str, Any]) -> bool | None:
    value = record.get("is_extant", record.get("ext"))
    told = str(int(value)) if isinstance(value, bool | int) else value or ""
    if told not in EXTANT:
        raise ServiceError(f"{WHO} answered with 'is_extant' = {value!r}, which is neither extant nor extinct")
    return EXTANT[told]
