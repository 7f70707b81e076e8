"""Every reader of bytes from outside or from disk, with bodies that it accepts: `reader(body)` in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.records import ApiResponse, Request
from pipeline.io.web.response_cache import parse_json
from pipeline.sources.commons import CommonsParams, CommonsSource
from pipeline.sources.gbif import GbifParams, GbifSource
from pipeline.sources.inaturalist import INaturalistParams, INaturalistSource
from pipeline.sources.openverse import OpenverseParams, OpenverseSource
from pipeline.sources.phylopic import PhyloPicParams, PhyloPicSource
from pipeline.sources.source import SourceContext
from pipeline.taxonomy import gbif, inaturalist, pbdb
from pipeline.taxonomy.authorities import find_in_gbif, find_in_pbdb
from pipeline.taxonomy.resolve import resolve

SHARED = Path(__file__).parents[3] / "shared/data/api"
Reader = Callable[[bytes], Any]
NAME = "Sinomacrops bondei"


@dataclass(frozen=True)
class Body:
    name: str
    content: bytes
    read: Reader


def _fetched(content: bytes) -> Callable[[Request], ApiResponse]:
    """Every request has this body as its response."""
    return lambda request: ApiResponse(parse_json(content, "example.org"), "0" * 64, request.url)


def source(plugin: Any, params: Any) -> Reader:
    return lambda content: list(plugin().pictures(params, SourceContext(Path(), 7, _fetched(content), ())))


def _parsed(read: Callable[[Any], Any]) -> Reader:
    return lambda content: read(parse_json(content, "example.org"))


SOURCES: dict[str, Reader] = {
    "commons": source(CommonsSource, CommonsParams(kind="commons", category="Pterosaurs", depth=1, limit=30)),
    "gbif": source(GbifSource, GbifParams(kind="gbif", taxon_key=5, limit=30)),
    "gbif species": source(GbifSource, GbifParams(kind="gbif", taxon_key=5, media="species", limit=30)),
    "inaturalist": source(INaturalistSource, INaturalistParams(kind="inaturalist", taxon_id=5, limit=30)),
    "openverse": source(OpenverseSource, OpenverseParams(kind="openverse", query="dodo", limit=30)),
    "phylopic": source(PhyloPicSource, PhyloPicParams(kind="phylopic", name="Dodo", limit=30)),
}
TAXONOMY: dict[str, Reader] = {
    "gbif match": _parsed(lambda value: gbif.read_match(value, NAME)),
    "gbif taxon": _parsed(gbif.read_taxon),
    "gbif synonyms": _parsed(lambda value: gbif.synonym_names(value, NAME)),
    "pbdb taxa": _parsed(pbdb.usages),
    "pbdb parents": _parsed(lambda value: pbdb.classification(value, 438190)),
    "inaturalist taxa": _parsed(lambda value: inaturalist.read_taxon(value, NAME, "species")),
    "every authority": lambda content: resolve(NAME, _fetched(content)),
    "gbif finding": lambda content: find_in_gbif(NAME, _fetched(content)).line,
    "pbdb finding": lambda content: find_in_pbdb(NAME, _fetched(content)).line,
}
USAGE = {
    "usageKey": 7,
    "acceptedUsageKey": 8,
    "canonicalName": NAME,
    "rank": "SPECIES",
    "status": "SYNONYM",
    "species": NAME,
}
MATCH = {
    **USAGE,
    "matchType": "EXACT",
    "confidence": 98,
    "kingdom": "Animalia",
    "alternatives": [{**USAGE, "matchType": "FUZZY"}],
}
NESTED = {
    "usage": {"key": "7", "canonicalName": NAME, "rank": "SPECIES", "status": "ACCEPTED"},
    "acceptedUsage": {"key": "8", "canonicalName": "Sinomacrops", "rank": "GENUS"},
    "classification": [{"key": "1", "name": "Animalia", "rank": "KINGDOM"}],
    "diagnostics": {"matchType": "VARIANT", "confidence": 90, "alternatives": []},
}
TAXON = {
    "orig_no": "438190",
    "taxon_no": "438190",
    "taxon_name": NAME,
    "taxon_rank": "species",
    "accepted_no": "438189",
    "accepted_name": "Sinomacrops",
    "accepted_rank": "genus",
    "difference": "subjective synonym of",
    "is_extant": "extinct",
    "firstapp_max_ma": "165.3",
    "lastapp_min_ma": 154.8,
    "phylum": "Chordata",
    "parent_no": "38519",
}
COMPACT = {
    "oid": "txn:438190",
    "nam": NAME,
    "rnk": 3,
    "acc": "txn:8",
    "acn": "S",
    "acr": 5,
    "ext": 0,
    "fea": 1.5,
    "lla": 1,
}
MADE: dict[str, tuple[Any, tuple[str, ...]]] = {
    "gbif match": (MATCH, ("gbif match", "gbif finding", "every authority")),
    "gbif match, version 2": (NESTED, ("gbif match",)),
    "gbif taxon": (
        {"key": 7, "scientificName": f"{NAME} Wei, 2021", "rank": "SPECIES", "acceptedKey": 8, "accepted": NAME},
        ("gbif taxon",),
    ),
    "pbdb taxa": (
        {"records": [TAXON, TAXON | {"orig_no": "9"}]},
        ("pbdb taxa", "pbdb parents", "pbdb finding", "every authority"),
    ),
    "pbdb taxa, compact": ({"records": [COMPACT]}, ("pbdb taxa", "pbdb parents")),
    "inaturalist taxa": (
        {"results": [{"id": 5, "name": NAME, "rank": "species", "extinct": True}]},
        ("inaturalist taxa", "gbif synonyms"),
    ),
}
MEDIUM = {
    "type": "StillImage",
    "format": "image/jpeg",
    "identifier": "https://example.org/a.jpg",
    "license": "http://creativecommons.org/licenses/by/4.0/",
    "creator": "Ada",
}
IMAGE_INFO = {
    "url": "https://upload.wikimedia.org/a.jpg",
    "thumburl": "https://upload.wikimedia.org/b.jpg",
    "width": 4000,
    "height": 3000,
    "user": "Ada",
    "descriptionurl": "https://commons.wikimedia.org/wiki/File:A.jpg",
    "extmetadata": {
        "License": {"value": "cc-by-4.0"},
        "Artist": {"value": "<a href='//x.org/Ada'>Ada</a>"},
        "Categories": {"value": "Skulls|Birds"},
    },
}
PICTURES: dict[str, Any] = {
    "gbif": {
        "endOfRecords": True,
        "offset": 0,
        "limit": 20,
        "results": [
            {
                "key": 9,
                "species": NAME,
                "basisOfRecord": "FOSSIL_SPECIMEN",
                "media": [MEDIUM, MEDIUM | {"format": "image/svg+xml"}],
            }
        ],
    },
    "gbif species": {"endOfRecords": True, "results": [MEDIUM]},
    "inaturalist": {
        "total_results": 1,
        "results": [
            {
                "id": 11,
                "taxon": {"name": NAME},
                "user": {"login": "ada", "name": "Ada"},
                "photos": [
                    {
                        "id": 3,
                        "url": "https://static.inaturalist.org/photos/3/square.jpg",
                        "license_code": "cc-by",
                        "attribution": "(c) Ada",
                    }
                ],
                "annotations": [{"controlled_attribute_id": 17, "controlled_value_id": 19}],
            }
        ],
    },
    "openverse": {
        "result_count": 1,
        "page_count": 1,
        "page": 1,
        "results": [
            {
                "id": "a-b",
                "url": "https://example.org/a.jpg",
                "title": "A",
                "license": "by",
                "license_version": "4.0",
                "license_url": "https://creativecommons.org/licenses/by/4.0/",
                "creator": "Ada",
                "filetype": "jpg",
            }
        ],
    },
    "phylopic": {
        "build": 500,
        "totalPages": 1,
        "_embedded": {
            "items": [
                {
                    "uuid": "0b3c1e33-4d6a-4f3f-8c5c-3b1f4bd9e3a1",
                    "attribution": "Ada",
                    "names": [[{"class": "scientific", "text": "Dodo"}]],
                    "_links": {
                        "license": {"href": "https://creativecommons.org/publicdomain/zero/1.0/"},
                        "rasterFiles": [{"href": "https://images.phylopic.org/a.png", "sizes": "512x300"}],
                        "contributor": {"href": "/contributors/0b3c1e33-4d6a-4f3f-8c5c-3b1f4bd9e3a1", "title": "Ada"},
                        "specificNode": {"title": "Dodo"},
                    },
                }
            ]
        },
    },
    "commons": {
        "batchcomplete": True,
        "query": {
            "pages": [
                {"pageid": 1, "ns": 6, "title": "File:A skull.jpg", "imageinfo": [IMAGE_INFO]},
                {"pageid": 2, "ns": 14, "title": "Category:B"},
            ]
        },
    },
}
RECORDED = {
    "wikimedia_commons": "commons",
    "gbif": "gbif",
    "inaturalist": "inaturalist",
    "openverse": "openverse",
    "phylopic": "phylopic",
}


def made_bodies() -> Iterator[Body]:
    """Small bodies of every API, with every reader that may be sent them."""
    for name, (value, readers) in MADE.items():
        for reader in readers:
            yield Body(f"{name} by {reader}", json.dumps(value).encode(), TAXONOMY[reader])
    for name, value in PICTURES.items():
        yield Body(name, json.dumps(value).encode(), SOURCES[name])


def recorded_bodies() -> Iterator[Body]:
    """The recorded responses, none when they are not here."""
    for path in sorted(SHARED.rglob("*.json")):
        reader = RECORDED.get(path.parent.name)
        if reader:
            yield Body(f"{path.parent.name}/{path.name}", path.read_bytes(), SOURCES[reader])
        if reader == "gbif" and "species" in path.name:
            for taxonomy in ("gbif match", "gbif taxon", "gbif synonyms"):
                yield Body(f"{path.name} by {taxonomy}", path.read_bytes(), TAXONOMY[taxonomy])
        if path.parent.name == "pbdb":
            yield Body(path.name, path.read_bytes(), TAXONOMY["pbdb taxa"])
