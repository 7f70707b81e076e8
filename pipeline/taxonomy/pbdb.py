"""The Paleobiology Database, data service 1.2: requests for taxa, and how the responses are read.

The vocabulary `pbdb` is requested, the compact one is read too. Ids are of two kinds: `txn:` (`orig_no`) is a taxon,
`var:` (`taxon_no`) one spelling of its name. Data CC BY 4.0: The Paleobiology Database, https://paleobiodb.org.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.data_params import Host
from pipeline.core.errors import ServiceError
from pipeline.core.records import Request
from pipeline.taxonomy.response_fields import identifier, number, required_items, shown, text
from pipeline.taxonomy.usage import Usage, same_name

NAME = "the Paleobiology Database"
HOSTS = {"paleobiodb.org": Host(connections=1, requests_per_second=1)}
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


def name_request(name: str) -> Request:
    """Every taxon of that name: homonyms come as several records, an unknown name as none."""
    return Request(f"{TAXA}/list.json", (("match_name", name), SHOW, VOCABULARY))


def similar_names_request(name: str) -> Request:
    """Names that begin alike: of genera and above for one word, of species for two."""
    words = name.split()
    pattern = f"{words[0][:5]}%" + (" %" if len(words) > 1 else "")
    return Request(f"{TAXA}/list.json", (("match_name", pattern), ("limit", "500"), VOCABULARY))


def taxon_request(key: int) -> Request:
    return Request(f"{TAXA}/single.json", (("id", f"txn:{key}"), SHOW, VOCABULARY))


def parents_request(key: int) -> Request:
    return Request(f"{TAXA}/list.json", (("id", f"txn:{key}"), ("rel", "all_parents"), ("show", "parent"), VOCABULARY))


def synonyms_request(key: int) -> Request:
    return Request(f"{TAXA}/list.json", (("id", f"txn:{key}"), ("rel", "synonyms"), VOCABULARY))


def usages(value: Any) -> tuple[Usage, ...]:
    """The records of a response; ServiceError when it is an error, or not of the agreed shape."""
    return tuple(_usage(record) for record in _records(value))


def synonym_names(value: Any, accepted: str) -> tuple[str, ...]:
    """Read a response to `synonyms_request`: the other names, misspellings left out."""
    found = [usage for usage in usages(value) if MISSPELT not in usage.reason]
    return tuple(sorted({usage.name for usage in found if not same_name(usage.name, accepted)}))


def classification(value: Any, key: int) -> tuple[str, ...]:
    """Read a response to `parents_request`: the taxa that contain `key`, from the widest to its parent."""
    known = {identifier(record, NAME, "orig_no", "oid"): record for record in _records(value)}
    found: list[str] = []
    record = known.pop(key, None) or _narrowest(known)
    if record and identifier(record, NAME, "orig_no", "oid") != key:
        found.append(text(record, NAME, "taxon_name", "nam"))
    while record and (record := known.pop(identifier(record, NAME, "parent_no", "par"), None)):
        found.append(text(record, NAME, "taxon_name", "nam"))
    return _from_animals(tuple(reversed(found)))


def _narrowest(known: Mapping[Any, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The record that is no parent of another, where the taxon itself is not in the list."""
    containing = {identifier(record, NAME, "parent_no", "par") for record in known.values()}
    return next((record for number, record in known.items() if number not in containing), None)


def _from_animals(names: tuple[str, ...]) -> tuple[str, ...]:
    """Without the ranks above the animals, which are the same for all."""
    first = next((i for i, name in enumerate(names) if name in ("Animalia", "Metazoa")), 0)
    return names[first:]


def _records(value: Any) -> tuple[Mapping[str, Any], ...]:
    return required_items(value, NAME, "records")


def _usage(record: Mapping[str, Any]) -> Usage:
    key, name, rank = _identity(record, ("orig_no", "oid", "taxon_no"), ("taxon_name", "nam"), ("taxon_rank", "rnk"))
    if key is None or not name:
        raise ServiceError(
            f"{NAME} responded with a taxon without 'orig_no' or 'taxon_name'; its responses have changed"
        )
    # the compact vocabulary leaves these out where they are the same
    to, accepted, wider = _identity(record, ("accepted_no", "acc"), ("accepted_name", "acn"), ("accepted_rank", "acr"))
    return Usage(
        key,
        name,
        rank,
        to or key,
        accepted or name,
        wider or rank,
        reason=text(record, NAME, "difference", "tdf"),
        path=tuple(filter(None, (_class(record, fields) for fields in CLASSES))),
        phylum=_class(record, CLASSES[0]),
        interval_ma=_interval(record),
        extant=_extant(record),
    )


def _identity(
    record: Mapping[str, Any], key: tuple[str, ...], name: tuple[str, ...], rank: tuple[str, ...]
) -> tuple[int | None, str, str]:
    return identifier(record, NAME, *key), text(record, NAME, *name), _rank(record, rank)


def _rank(record: Mapping[str, Any], names: tuple[str, ...]) -> str:
    value = next((record[name] for name in names if record.get(name) is not None), "")
    if isinstance(value, str) and not value.isdecimal():
        return text(record, NAME, *names)
    return RANKS.get(int(number(record, NAME, *names) or 0), "unranked clade")


def _class(record: Mapping[str, Any], fields: tuple[str, str]) -> str:
    """A class of the Linnean ladder; placeholders such as NO_FAMILY_SPECIFIED are none."""
    name = text(record, NAME, *fields)
    return "" if name.startswith("NO_") else name


def _interval(record: Mapping[str, Any]) -> tuple[float, float] | None:
    oldest = number(record, NAME, "firstapp_max_ma", "fea")
    youngest = number(record, NAME, "lastapp_min_ma", "lla")
    return None if oldest is None or youngest is None else (oldest, youngest)


def _extant(record: Mapping[str, Any]) -> bool | None:
    value = record.get("is_extant", record.get("ext"))
    status = "" if value is None else str(int(value)) if value in (0, 1) else value
    if not isinstance(status, str) or status not in EXTANT:
        raise ServiceError(f"{NAME} responded with 'is_extant' = {shown(value)}, which is neither extant nor extinct")
    return EXTANT[status]
