"""Responses in the shapes that the services give: from the recordings where they are, else made as documented."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.core.errors import HttpError
from pipeline.core.records import ApiResponse, Request

SHARED = Path(__file__).parents[2] / "../shared/data"

SINOMACROPS = {
    "orig_no": "438190",
    "taxon_no": "438190",
    "record_type": "txn",
    "taxon_rank": "species",
    "taxon_name": "Sinomacrops bondei",
    "taxon_attr": "Wei et al. 2021",
    "accepted_no": "438190",
    "accepted_rank": "species",
    "accepted_name": "Sinomacrops bondei",
    "parent_no": "438189",
    "parent_name": "Sinomacrops",
    "reference_no": "77012",
    "is_extant": "extinct",
    "n_occs": 1,
    "firstapp_max_ma": 165.3,
    "firstapp_min_ma": 154.8,
    "lastapp_max_ma": 165.3,
    "lastapp_min_ma": 154.8,
    "early_interval": "Callovian",
    "late_interval": "Oxfordian",
    "taxon_size": 1,
    "extant_size": 0,
    "phylum": "Chordata",
    "class": "Reptilia",
    "order": "Pterosauria",
    "family": "Anurognathidae",
    "genus": "Sinomacrops",
}
SINOMACROPS_COMPACT = {
    "oid": "txn:438190",
    "rnk": 3,
    "nam": "Sinomacrops bondei",
    "att": "Wei et al. 2021",
    "par": "txn:438189",
    "prl": "Sinomacrops",
    "rid": "ref:77012",
    "ext": "0",
    "noc": 1,
    "fea": 165.3,
    "fla": 154.8,
    "lea": 165.3,
    "lla": 154.8,
    "tei": "Callovian",
    "tli": "Oxfordian",
    "siz": 1,
    "exs": 0,
    "phl": "Chordata",
    "cll": "Reptilia",
    "odl": "Pterosauria",
    "fml": "Anurognathidae",
    "gnl": "Sinomacrops",
}
LADDER = ("Life", "Animalia", "Chordata", "Reptilia", "Pterosauria", "Anurognathidae", "Sinomacrops")


def pbdb_record(number: int, name: str, rank: str, **changes) -> dict:
    """A record of the vocabulary `pbdb` for an accepted pterosaur, or what `changes` make of it."""
    same = {
        "orig_no": str(number),
        "taxon_no": str(number),
        "taxon_rank": rank,
        "taxon_name": name,
        "accepted_no": str(number),
        "accepted_rank": rank,
        "accepted_name": name,
    }
    return {**SINOMACROPS, **same, **changes}


def chain(names: tuple[str, ...] = LADDER, last: int = 438189) -> list[dict]:
    """Taxa that contain each other, the widest first; the narrowest has the number `last`."""
    numbers = [last - len(names) + 1 + i for i in range(len(names))]
    return [
        {"orig_no": str(number), "taxon_name": name, "taxon_rank": "unranked clade", "parent_no": str(number - 1)}
        for number, name in zip(numbers, names)
    ]


def gbif_match(key: int, name: str, rank: str = "SPECIES", **changes) -> dict:
    """An exact match of version 1, flat, with its numbers as numbers."""
    return {
        "usageKey": key,
        "scientificName": f"{name} Author, 1900",
        "canonicalName": name,
        "rank": rank,
        "status": "ACCEPTED",
        "confidence": 99,
        "matchType": "EXACT",
        "kingdom": "Animalia",
        "phylum": "Chordata",
        "class": "Reptilia",
        "order": "Pterosauria",
        "synonym": False,
        **changes,
    }


NOTHING = {
    "confidence": 100,
    "note": "No match because of too little confidence",
    "matchType": "NONE",
    "synonym": False,
}


class Script:
    """Responses questions from a table and remembers them; an exception is raised, what is missing is a 404.

    The keys are "pbdb NAME", "pbdb txn:ID", "pbdb txn:ID REL", "gbif NAME", "gbif KEY", "gbif KEY synonyms" and
    "inat NAME".
    """

    def __init__(self, **responses):
        self.responses: dict[str, object] = responses
        self.requested: list[str] = []

    def __call__(self, request: Request) -> ApiResponse:
        self.requested.append(_short(request))
        value = self.responses.get(self.requested[-1], _absent(self.requested[-1]))
        if isinstance(value, Exception):
            raise value
        return ApiResponse(value, "0" * 64, request.url)


def script(responses: dict[str, object]) -> Script:
    return Script(**responses)


def _short(request: Request) -> str:
    query = dict(request.query)
    if "paleobiodb" in request.url:
        return " ".join(["pbdb", query.get("match_name") or query["id"], *filter(None, [query.get("rel")])])
    if "inaturalist" in request.url:
        return f"inat {query['q']}"
    return f"gbif {query['name']}" if "name" in query else f"gbif {request.url.split('/species/')[1].replace('/', ' ')}"


def _absent(question: str) -> object:
    if question.startswith("pbdb"):
        return {"elapsed_time": 0.001, "records": []}
    if question.startswith("inat"):
        return {"total_results": 0, "results": []}
    if question.endswith("synonyms"):
        return {"offset": 0, "limit": 1000, "endOfRecords": True, "results": []}
    return HttpError("api.gbif.org: not found", 404) if question.split()[1].isdecimal() else NOTHING


def recording(name: str) -> object:
    """A recorded response of a real service; the test skips where the recordings are not."""
    path = SHARED / "api" / name
    if not path.is_file():
        pytest.skip(f"the recorded responses are not here ({path.name})")
    return json.loads(path.read_text(encoding="utf-8"))
