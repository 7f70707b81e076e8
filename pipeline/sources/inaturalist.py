"""iNaturalist: the photographs of a taxon's observations.

Pages are requested by `id_above`: by number the list ends with a 403 after 10 000 observations. Observations of every
quality grade are taken, since those of extinct animals are never "research".
https://api.inaturalist.org/v1/docs/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import ClassVar, Literal

from pipeline.core.data_params import Host
from pipeline.core.param_types import PositiveInt, SourceParams
from pipeline.core.records import ApiResponse, Candidate, Rejection, Request
from pipeline.sources.json_reader import JsonValue, read_object
from pipeline.sources.licences import address_of, spdx
from pipeline.sources.markup import plain
from pipeline.sources.pagination import identified_by, limited, paginate, read_items, without_repeats
from pipeline.sources.source import Fetch, Offer, Source, SourceContext

HOST = "api.inaturalist.org"
SITE = "https://www.inaturalist.org"
PAGE_SIZE = 200
SIZE = "large"  # at most 1024 px; lists give "square", 75 px
SIZES = re.compile(r"/(square|thumb|small|medium|large|original)(?=\.\w+(\?|$))")
VERSION = "4.0"  # of every Creative Commons licence there: GBIF's copies of the same photographs name it
ALIVE_OR_DEAD, DEAD = 17, 19  # https://api.inaturalist.org/v1/controlled_terms
EVIDENCE, ORGANISM = 22, 24  # the other values: bone, feather, track, scat, molt, egg, hair, ...


class INaturalistParams(SourceParams):
    """iNaturalist: the licensed photographs of a taxon's observations."""

    kind: Literal["inaturalist"]
    taxon_id: PositiveInt
    limit: PositiveInt = 200

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.taxon_id}"


class INaturalistSource(Source[INaturalistParams]):
    Params = INaturalistParams
    hosts: ClassVar = {HOST: Host(connections=1, requests_per_second=1, requests_per_day=10_000)}
    wants_contact = True
    keeps_vanished = True

    def pictures(self, params: INaturalistParams, context: SourceContext) -> Iterator[Offer]:
        """Photographs by the number of their observation, oldest first."""
        label = params.label
        new = without_repeats(_pages(context.fetch, params), identified_by("id"), label)
        offers = (offer for page in new for offer in read_items(page, label, partial(_of_observation, label)))
        yield from limited(params.limit, offers)


def _request(source: INaturalistParams, last: int) -> Request:
    query = (
        ("taxon_id", str(source.taxon_id)),
        ("photos", "true"),
        ("photo_licensed", "true"),
        ("per_page", str(min(source.limit, PAGE_SIZE))),
        ("order_by", "id"),
        ("order", "asc"),
        ("id_above", str(last)),
    )
    return Request(f"https://{HOST}/v1/observations", query)


def _pages(fetch: Fetch, source: INaturalistParams) -> Iterator[list[JsonValue]]:
    for response in paginate(fetch, _request(source, 0), partial(_following, source), source.label):
        yield read_object(response, HOST).required_items("results")


def _following(source: INaturalistParams, response: ApiResponse) -> Request | None:
    content = read_object(response, HOST)
    page = content.items("results")
    ids = [observation.number("id") for observation in page if isinstance(observation.value, dict)]
    left = (content.number("total_results") or 0) - len(page)  # it counts what is above `id_above`
    return _request(source, max(filter(None, ids))) if any(ids) and left > 0 else None


def _of_observation(label: str, observation: JsonValue) -> Iterator[Offer]:
    yield from read_items(observation.items("photos"), label, partial(_offer, label, observation))


def _offer(label: str, observation: JsonValue, photo: JsonValue) -> Iterator[Offer]:
    key, code = photo.required_text("id"), photo.text("license_code")
    licence = spdx(code) or spdx(f"{code} {VERSION}")
    login = observation.text("user", "login")
    candidate = Candidate(
        label,
        key,
        SIZES.sub(f"/{SIZE}", photo.address("url")),
        f"{SITE}/photos/{key}",
        observation.text("taxon", "preferred_common_name") or observation.text("taxon", "name"),
        plain(observation.text("description"), SITE)[0],
        observation.text("user", "name") or login,
        licence,
        address_of(licence),
        f"{SITE}/people/{login}" if login else "",
        code or photo.text("attribution"),
        _shows(observation),
        observation.text("taxon", "name"),
        photo.evidence,
    )
    yield candidate, _refuse(candidate, photo)


def _shows(observation: JsonValue) -> str:
    """ "specimen" for what is dead, and for what an animal left behind."""
    annotations = {
        (mark.number("controlled_attribute_id"), mark.number("controlled_value_id"))
        for mark in observation.items("annotations")
    }
    traces = {value for term, value in annotations if term == EVIDENCE}
    return "specimen" if (ALIVE_OR_DEAD, DEAD) in annotations or (traces and ORGANISM not in traces) else ""


def _refuse(candidate: Candidate, photo: JsonValue) -> Rejection | None:
    if photo.boolean("hidden") or any(not flag.boolean("resolved") for flag in photo.items("flags")):
        return Rejection("inaturalist", "flagged_upstream", "iNaturalist hides it or has it flagged.")
    if not candidate.image_url:
        return Rejection("inaturalist", "no_address", "iNaturalist gives no address for this photograph.")
    return None
