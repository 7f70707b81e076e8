"""iNaturalist: the photographs of a taxon's observations.

Pages are asked for by `id_above`: by number the list ends with a 403 after 10 000 observations. Observations of every
quality grade are taken, since those of extinct animals are never "research".
https://api.inaturalist.org/v1/docs/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pipeline.core.records import Answer, Candidate, Rejection, Request
from pipeline.core.source_params import API_HOSTS, INaturalistSource
from pipeline.sources.json_reader import Reading, opened
from pipeline.sources.licences import address_of, spdx
from pipeline.sources.markup import plain
from pipeline.sources.pagination import Ask, Offer, answers, at_most, each, new, told_by

HOST = API_HOSTS["inaturalist"]
SITE = "https://www.inaturalist.org"
PER_ANSWER = 200
SIZE = "large"  # at most 1024 px; lists give "square", 75 px
SIZES = re.compile(r"/(square|thumb|small|medium|large|original)(?=\.\w+(\?|$))")
VERSION = "4.0"  # of every Creative Commons licence there: GBIF's copies of the same photographs name it
ALIVE_OR_DEAD, DEAD = 17, 19  # https://api.inaturalist.org/v1/controlled_terms
EVIDENCE, ORGANISM = 22, 24  # the other values: bone, feather, track, scat, molt, egg, hair, ...


def pictures(source: INaturalistSource, root: Path, seed: int, ask: Ask) -> Iterator[Offer]:
    """Photographs by the number of their observation, oldest first.

    Raises
    ------
    ServiceError
        When iNaturalist cannot be asked or its answers have changed.
    """
    pages = new(_pages(ask, source), told_by("id"), source.label)
    found = (offer for page in pages for offer in each(page, source.label, partial(_of_observation, source.label)))
    yield from at_most(source.limit, found)


def _request(source: INaturalistSource, last: int) -> Request:
    query = (
        ("taxon_id", str(source.taxon_id)),
        ("photos", "true"),
        ("photo_licensed", "true"),
        ("per_page", str(min(source.limit, PER_ANSWER))),
        ("order_by", "id"),
        ("order", "asc"),
        ("id_above", str(last)),
    )
    return Request(f"https://{HOST}/v1/observations", query)


def _pages(ask: Ask, source: INaturalistSource) -> Iterator[list[Reading]]:
    for answer in answers(ask, _request(source, 0), partial(_following, source), source.label):
        yield opened(answer, HOST).listed("results")


def _following(source: INaturalistSource, answer: Answer) -> Request | None:
    said = opened(answer, HOST)
    page = said.items("results")
    ids = [observation.number("id") for observation in page if isinstance(observation.value, dict)]
    left = (said.number("total_results") or 0) - len(page)  # it counts what is above `id_above`
    return _request(source, max(filter(None, ids))) if any(ids) and left > 0 else None


def _of_observation(label: str, observation: Reading) -> Iterator[Offer]:
    yield from each(observation.items("photos"), label, partial(_offer, label, observation))


def _offer(label: str, observation: Reading, photo: Reading) -> Iterator[Offer]:
    key, code = photo.needed("id"), photo.text("license_code")
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


def _shows(observation: Reading) -> str:
    """ "specimen" for what is dead, and for what an animal left behind."""
    said = {
        (mark.number("controlled_attribute_id"), mark.number("controlled_value_id"))
        for mark in observation.items("annotations")
    }
    traces = {value for term, value in said if term == EVIDENCE}
    return "specimen" if (ALIVE_OR_DEAD, DEAD) in said or (traces and ORGANISM not in traces) else ""


def _refuse(candidate: Candidate, photo: Reading) -> Rejection | None:
    if photo.truth("hidden") or any(not flag.truth("resolved") for flag in photo.items("flags")):
        return Rejection("inaturalist", "flagged_upstream", "iNaturalist hides it or has it flagged.")
    if not candidate.image_url:
        return Rejection("inaturalist", "no_address", "iNaturalist says of this photograph not where it lies.")
    return None
