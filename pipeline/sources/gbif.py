"""GBIF: the pictures of a taxon's occurrences, or those of its species page.

Only a medium's own licence counts: that of its record covers the data. Occurrences of extinct animals are fossils
almost without exception, and marked as such.
https://techdocs.gbif.org/en/openapi/v1/occurrence
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipeline.core.errors import ServiceError
from pipeline.core.records import Answer, Candidate, Rejection, Request
from pipeline.core.source_params import API_HOSTS, GbifSource
from pipeline.sources.json_reader import Reading, clean, opened
from pipeline.sources.licences import address_of, spdx
from pipeline.sources.pagination import Ask, Offer, answers, at_most, each, new, told_by

HOST = API_HOSTS["gbif"]
PER_ANSWER = 300  # the most that it gives at once
DEEPEST = 100_000  # offset and limit together reach no further
SPECIMENS = ("FOSSIL_SPECIMEN", "PRESERVED_SPECIMEN")
NO_BITMAPS = ("image/svg+xml", "image/vnd.djvu")


def pictures(source: GbifSource, root: Path, seed: int, ask: Ask) -> Iterator[Offer]:
    """Pictures in GBIF's order.

    Raises
    ------
    ServiceError
        When GBIF cannot be asked, its answers have changed, or the list is longer than it gives.
    """
    offer = {"occurrences": _of_occurrence, "species": _of_species}[source.media]
    identity = {"occurrences": told_by("key"), "species": told_by("identifier")}[source.media]
    pages = new(_pages(ask, partial(_request, source), source.label), identity, source.label)
    found = (offered for page in pages for offered in each(page, source.label, partial(offer, source)))
    yield from at_most(source.limit, found)


def _request(source: GbifSource, offset: int) -> Request:
    window = (("limit", str(min(source.limit, PER_ANSWER))), ("offset", str(offset)))
    if source.media == "species":
        return Request(f"https://{HOST}/v1/species/{source.taxon_key}/media", window)
    wanted = (("taxonKey", str(source.taxon_key)), ("mediaType", "StillImage"))
    return Request(f"https://{HOST}/v1/occurrence/search", (*wanted, *window))


def _pages(ask: Ask, request: Callable[[int], Request], name: str) -> Iterator[list[Reading]]:
    for answer in answers(ask, request(0), partial(_following, request), name):
        yield opened(answer, HOST).listed("results")


def _following(request: Callable[[int], Request], answer: Answer) -> Request | None:
    said = opened(answer, HOST)
    if said.truth("endOfRecords") or not said.items("results"):
        return None
    offset = (said.number("offset") or 0) + (said.number("limit") or 0)
    if offset >= DEEPEST:
        raise ServiceError(f"{HOST} lists no more than {DEEPEST} records; choose a smaller taxon or a lower `limit:`")
    return request(offset)


def _of_occurrence(source: GbifSource, record: Reading) -> Iterator[Offer]:
    key = record.needed("key")
    taxon = record.text("species") or record.text("acceptedScientificName") or record.text("scientificName")
    shows = "specimen" if record.text("basisOfRecord") in SPECIMENS else ""
    about = partial(_offer, source.label, key, f"https://www.gbif.org/occurrence/{key}", taxon=taxon, shows=shows)
    yield from each(record.items("media"), source.label, about)


def _of_species(source: GbifSource, medium: Reading) -> Iterator[Offer]:
    yield from _offer(source.label, str(source.taxon_key), f"https://www.gbif.org/species/{source.taxon_key}", medium)


def _offer(label: str, key: str, page: str, medium: Reading, taxon: str = "", shows: str = "") -> Iterator[Offer]:
    medium = medium.object()
    said = medium.text("license")
    licence = spdx(said)
    candidate = Candidate(
        label,
        f"{key}/{_short(medium)}",
        medium.address("identifier"),
        medium.address("references") or page,
        medium.text("title"),
        medium.text("description"),
        medium.text("creator") or medium.text("rightsHolder"),
        licence,
        address_of(licence),
        "",
        said,
        shows,
        taxon,
        medium.evidence,
    )
    yield candidate, _refuse(candidate, medium)


def _short(medium: Reading) -> str:
    """A name for a medium, which has none of its own: from its address, so that it stays when others come and go."""
    said = clean(str(medium.value.get("identifier") or medium.value.get("references") or ""))
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _refuse(candidate: Candidate, medium: Reading) -> Rejection | None:
    kind, form = medium.text("type") or "StillImage", medium.text("format")
    if kind != "StillImage" or (form and not form.startswith("image/")) or form in NO_BITMAPS:
        return Rejection("gbif", "not_a_picture", f"GBIF says that it is {form or kind!r}, no picture to read.")
    if not candidate.image_url:
        said = medium.text("identifier")
        return Rejection("gbif", "no_address", f"GBIF gives {said!r} as its address, which leads nowhere on the web.")
    return None
