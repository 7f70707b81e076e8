"""Every value of a response, one after the other, turned into something else: a row or a sentence, never a crash."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.core.errors import ServiceError
from pipeline.core.records import Rejection
from pipeline.sources.commons import CommonsParams
from pipeline.sources.gbif import GbifParams
from pipeline.sources.inaturalist import INaturalistParams
from pipeline.sources.openverse import OpenverseParams
from pipeline.sources.phylopic import PhyloPicParams
from tests.sources.fake_fetch import FakeFetch, offers

WRONG = (None, True, 7, -1.5, "", "x\x00\ud800", [], [[]], {}, {"x": 1}, ["x"], "https://[")
LICENCE = "https://creativecommons.org/licenses/by/4.0/"
RESPONSES = {
    "commons": {
        "batchcomplete": True,
        "continue": {"gcmcontinue": "x", "continue": "-||"},
        "query": {
            "pages": [
                {
                    "pageid": 1,
                    "ns": 6,
                    "title": "File:A.jpg",
                    "index": 1,
                    "imageinfo": [
                        {
                            "url": "https://upload.wikimedia.org/A.jpg",
                            "thumburl": "https://upload.wikimedia.org/1920px-A.jpg",
                            "width": 4000,
                            "descriptionurl": "https://commons.wikimedia.org/wiki/File:A.jpg",
                            "user": "Ada",
                            "extmetadata": {"License": {"value": "pd"}, "Artist": {"value": "<b>Ada</b>"}},
                        }
                    ],
                }
            ]
        },
    },
    "openverse": {
        "page": 1,
        "page_count": 2,
        "results": [
            {
                "id": "a",
                "title": "t",
                "creator": "Ada",
                "creator_url": "https://x.org",
                "url": "https://x.org/a.jpg",
                "foreign_landing_url": "https://x.org/a",
                "license": "by",
                "license_version": "4.0",
                "license_url": LICENCE,
                "filetype": "jpg",
            }
        ],
    },
    "gbif": {
        "offset": 0,
        "limit": 1,
        "endOfRecords": False,
        "results": [
            {
                "key": 1,
                "basisOfRecord": "FOSSIL_SPECIMEN",
                "species": "Pteranodon",
                "media": [
                    {
                        "type": "StillImage",
                        "format": "image/jpeg",
                        "identifier": "https://x.org/a.jpg",
                        "title": "t",
                        "license": LICENCE,
                        "references": "https://x.org/a",
                        "creator": "Ada",
                        "description": "d",
                    }
                ],
            }
        ],
    },
    "inaturalist": {
        "total_results": 2,
        "results": [
            {
                "id": 1,
                "taxon": {"name": "Danaus"},
                "user": {"login": "ada", "name": "Ada"},
                "description": "d",
                "annotations": [{"controlled_attribute_id": 22, "controlled_value_id": 27}],
                "photos": [
                    {
                        "id": 2,
                        "license_code": "cc-by",
                        "url": "https://x.org/2/square.jpg",
                        "attribution": "(c)",
                        "flags": [{"resolved": True}],
                        "hidden": False,
                    }
                ],
            }
        ],
    },
    "phylopic": {
        "build": 1,
        "totalPages": 1,
        "_embedded": {
            "items": [
                {
                    "uuid": "a",
                    "attribution": "Ada",
                    "names": [[{"class": "scientific", "text": "Pterosauria"}]],
                    "_links": {
                        "license": {"href": LICENCE},
                        "contributor": {"href": "/contributors/a", "title": "Cy"},
                        "specificNode": {"title": "Pteranodon"},
                        "self": {"title": "Pteranodon"},
                        "rasterFiles": [{"href": "https://x.org/a.png", "sizes": "2x2"}],
                    },
                }
            ]
        },
    },
}
PARAMS = {
    "commons": CommonsParams(kind="commons", category="Pterosauria", depth=1, limit=20),
    "openverse": OpenverseParams(kind="openverse", query="x", limit=20),
    "gbif": GbifParams(kind="gbif", taxon_key=1, limit=20),
    "inaturalist": INaturalistParams(kind="inaturalist", taxon_id=1, limit=20),
    "phylopic": PhyloPicParams(kind="phylopic", name="Pterosauria", limit=20),
}


def _places(value: Any, above: tuple = ()) -> Iterator[tuple]:
    yield above
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from _places(value[key], (*above, key))


def _changed(value: Any, place: tuple, wrong: Any) -> Any:
    if not place:
        return wrong
    value = copy.deepcopy(value)
    parent = value
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = wrong
    return value


def _refused(kind: str, response: Any) -> bool:
    """Whether the source gave up with a sentence; whatever else it offered can be stored."""
    fetch = FakeFetch(lambda request: response)
    try:
        for candidate, content in offers(PARAMS[kind], fetch):
            assert candidate.source_id and (content is None or isinstance(content, Rejection))
            assert content or candidate.image_url.startswith("https://")
            json.dumps(vars(candidate), ensure_ascii=False).encode()
    except ServiceError as error:
        assert "\n" not in str(error) and len(str(error)) < 400
        return True
    finally:
        assert len(fetch.requests) < 200
    return False


@pytest.mark.parametrize("kind", RESPONSES)
def test_whatever_changes_is_a_row_or_a_sentence_and_the_listing_ends(kind):
    places = list(_places(RESPONSES[kind]))
    refused = [_refused(kind, _changed(RESPONSES[kind], place, wrong)) for place in places for wrong in WRONG]
    assert sum(refused) > 20
