"""GBIF: the pictures of a taxon's occurrences, or those of its species page; the taxon by its key or by its name.

Only a medium's own licence counts: that of its record covers the data. Occurrences of extinct animals are fossils
almost without exception, and marked as such.
https://techdocs.gbif.org/en/openapi/v1/occurrence
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from pipeline.core.errors import ServiceError
from pipeline.core.param_types import PositiveInt, SourceParams, Text
from pipeline.core.records import ApiResponse, Candidate, Rejection, Request
from pipeline.sources.json_reader import JsonValue, clean, read_object
from pipeline.sources.licences import address_of, spdx
from pipeline.sources.pagination import identified_by, limited, paginate, read_items, without_repeats
from pipeline.sources.source import POLITE, Fetch, Offer, Source, SourceContext

HOST = "api.gbif.org"
PAGE_SIZE = 300  # the most that one response holds
DEEPEST = 100_000  # the largest sum of offset and limit
SPECIMENS = ("FOSSIL_SPECIMEN", "PRESERVED_SPECIMEN")
NO_BITMAPS = ("image/svg+xml", "image/vnd.djvu")


class GbifParams(SourceParams):
    """GBIF: pictures of the occurrences of a taxon, or those that its species page shows."""

    kind: Literal["gbif"]
    taxon_key: PositiveInt | None = None
    name: Text | None = None
    """Its scientific name, looked up at GBIF where no key is given; only exactly this name is taken."""
    media: Literal["occurrences", "species"] = "occurrences"
    limit: PositiveInt = 300

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.media}:{self.taxon_key or self.name}"

    @model_validator(mode="after")
    def _has_a_taxon(self) -> Self:
        if not (self.taxon_key or self.name):
            raise ValueError("a source of kind 'gbif' needs `taxon_key:` or `name:`")
        return self


class GbifSource(Source[GbifParams]):
    Params = GbifParams
    hosts: ClassVar = {HOST: POLITE}
    wants_contact = True
    keeps_vanished = True

    def pictures(self, params: GbifParams, context: SourceContext) -> Iterator[Offer]:
        """Pictures in GBIF's order."""
        label = params.label
        if params.taxon_key is None:
            params = params.model_copy(update={"taxon_key": _key_of(str(params.name), context.fetch)})
        offer, identity = (_of_species, "identifier") if params.media == "species" else (_of_occurrence, "key")
        pages = _pages(context.fetch, partial(_request, params), label)
        new = without_repeats(pages, identified_by(identity), label)
        offers = (found for page in new for found in read_items(page, label, partial(offer, params, label)))
        yield from limited(params.limit, offers)


def _key_of(name: str, fetch: Fetch) -> int:
    """The key of the taxon with exactly this name; for any other GBIF returns a similar one, or what contains it."""
    request = Request(f"https://{HOST}/v1/species/match", (("name", name), ("strict", "true")))
    match = read_object(fetch(request), HOST)
    found, key = match.text("canonicalName"), match.number("usageKey")
    if key is None or found.casefold() != name.casefold():
        nearest = f"; the nearest it has is {found!r}" if found else ""
        raise ServiceError(f"{HOST} has no taxon {name!r}{nearest}; name another taxon, or give its `taxon_key:`")
    return key


def _request(source: GbifParams, offset: int) -> Request:
    window = (("limit", str(min(source.limit, PAGE_SIZE))), ("offset", str(offset)))
    if source.media == "species":
        return Request(f"https://{HOST}/v1/species/{source.taxon_key}/media", window)
    wanted = (("taxonKey", str(source.taxon_key)), ("mediaType", "StillImage"))
    return Request(f"https://{HOST}/v1/occurrence/search", (*wanted, *window))


def _pages(fetch: Fetch, request: Callable[[int], Request], name: str) -> Iterator[list[JsonValue]]:
    for response in paginate(fetch, request(0), partial(_following, request), name):
        yield read_object(response, HOST).required_items("results")


def _following(request: Callable[[int], Request], response: ApiResponse) -> Request | None:
    content = read_object(response, HOST)
    if content.boolean("endOfRecords") or not content.items("results"):
        return None
    offset = (content.number("offset") or 0) + (content.number("limit") or 0)
    if offset >= DEEPEST:
        raise ServiceError(f"{HOST} lists no more than {DEEPEST} records; choose a smaller taxon or a lower `limit:`")
    return request(offset)


def _of_occurrence(source: GbifParams, label: str, record: JsonValue) -> Iterator[Offer]:
    key = record.required_text("key")
    taxon = record.text("species") or record.text("acceptedScientificName") or record.text("scientificName")
    shows = "specimen" if record.text("basisOfRecord") in SPECIMENS else ""
    about = partial(_offer, label, key, f"https://www.gbif.org/occurrence/{key}", taxon=taxon, shows=shows)
    yield from read_items(record.items("media"), label, about)


def _of_species(source: GbifParams, label: str, medium: JsonValue) -> Iterator[Offer]:
    yield from _offer(label, str(source.taxon_key), f"https://www.gbif.org/species/{source.taxon_key}", medium)


def _offer(label: str, key: str, page: str, medium: JsonValue, taxon: str = "", shows: str = "") -> Iterator[Offer]:
    medium = medium.object()
    licence_text = medium.text("license")
    licence = spdx(licence_text)
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
        licence_text,
        shows,
        taxon,
        medium.evidence,
    )
    yield candidate, _refuse(candidate, medium)


def _short(medium: JsonValue) -> str:
    """A name for a medium, which has none of its own: from its address, so that it stays when others come and go."""
    address = clean(str(medium.value.get("identifier") or medium.value.get("references") or ""))
    return hashlib.sha256(address.encode()).hexdigest()[:12]


def _refuse(candidate: Candidate, medium: JsonValue) -> Rejection | None:
    kind, form = medium.text("type") or "StillImage", medium.text("format")
    if kind != "StillImage" or (form and not form.startswith("image/")) or form in NO_BITMAPS:
        return Rejection(
            "gbif", "not_a_picture", f"GBIF gives its type as {form or kind!r}, which is not read as a picture."
        )
    if not candidate.image_url:
        address = medium.text("identifier")
        return Rejection(
            "gbif", "no_address", f"GBIF gives {address!r} as its address, which leads nowhere on the web."
        )
    return None
