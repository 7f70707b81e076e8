"""Openverse: openly licensed pictures of many collections by a search, anonymously or as a registered client.

A client gets more: 500 pictures per response instead of 20, 10 000 requests a day instead of 200.
https://api.openverse.org/v1/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pipeline.core.data_params import Host
from pipeline.core.errors import ServiceError
from pipeline.core.param_types import PositiveInt, SourceParams, Text
from pipeline.core.records import ApiResponse, Candidate, Rejection, Request
from pipeline.sources.json_reader import JsonValue, read_object
from pipeline.sources.licences import address_of, first_named
from pipeline.sources.pagination import identified_by, limited, paginate, read_items, without_repeats
from pipeline.sources.source import Fetch, Offer, Source, SourceContext

HOST = "api.openverse.org"
PAGE_SIZE, CLIENT_PAGE_SIZE = 20, 500  # one more is refused with 401
NO_BITMAPS = (".svg", ".pdf", ".djvu")


class OpenverseParams(SourceParams):
    """Openverse: a search over the openly licensed pictures of museums and photo sites."""

    kind: Literal["openverse"]
    query: Text
    category: Literal["illustration", "photograph", "digitized_artwork"] | None = None
    limit: PositiveInt = 100

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.query}"


class OpenverseSource(Source[OpenverseParams]):
    Params = OpenverseParams
    hosts: ClassVar = {HOST: Host(connections=1, requests_per_second=0.33, requests_per_day=200)}
    credentials = ("OPENVERSE_CLIENT_ID", "OPENVERSE_CLIENT_SECRET")
    wants_contact = True
    keeps_vanished = True

    def pictures(self, params: OpenverseParams, context: SourceContext) -> Iterator[Offer]:
        """What the search finds, best first."""
        fetch, label = context.fetch, params.label
        authorization = read_token(fetch(token_request(*context.credentials))) if context.credentials else ""
        first = _request(params, authorization, page=1)
        pages = _pages(fetch, first, partial(_following, params, authorization), label)
        new = without_repeats(pages, identified_by("id"), label)
        offers = (offer for page in new for offer in read_items(page, label, partial(_offer, label)))
        yield from limited(params.limit, offers)


def token_request(client_id: str, client_secret: str) -> Request:
    """The request for an access token (OAuth 2.0, client credentials: RFC 6749, 4.4)."""
    form = (("grant_type", "client_credentials"), ("client_id", client_id), ("client_secret", client_secret))
    return Request(f"https://{HOST}/v1/auth_tokens/token/", form=form, fresh=True)


def read_token(response: ApiResponse) -> str:
    """The value of the header Authorization."""
    token = read_object(response, HOST).text("access_token")
    if not token:
        raise ServiceError(f"{HOST} gave no access token; check the credentials of the registered client")
    return f"Bearer {token}"


def _request(source: OpenverseParams, authorization: str, page: int) -> Request:
    size = min(source.limit, CLIENT_PAGE_SIZE if authorization else PAGE_SIZE)
    category = (("category", source.category),) if source.category else ()
    query = (("q", source.query), *category, ("filter_dead", "true"), ("page_size", str(size)), ("page", str(page)))
    return Request(f"https://{HOST}/v1/images/", query, authorization=authorization)


def _following(source: OpenverseParams, authorization: str, response: ApiResponse) -> Request | None:
    content = JsonValue(response.value, HOST)
    page, count = content.number("page") or 1, content.number("page_count") or 0
    return _request(source, authorization, page + 1) if page < count else None


def _pages(
    fetch: Fetch, first: Request, following: Callable[[ApiResponse], Request | None], name: str
) -> Iterator[list[JsonValue]]:
    for response in paginate(fetch, first, following, name):
        yield read_object(response, HOST).required_items("results")


def _offer(label: str, item: JsonValue) -> Iterator[Offer]:
    code, version, link = (item.text(key) for key in ("license", "license_version", "license_url"))
    licence = first_named(link, f"{code} {version}")  # the address also has the country
    candidate = Candidate(
        label,
        item.required_text("id"),
        item.address("url"),
        item.address("foreign_landing_url"),
        item.text("title"),
        "",
        item.text("creator"),
        licence,
        address_of(licence) or item.address("license_url"),
        item.address("creator_url"),
        f"{code} {version}".strip(),
        evidence=item.evidence,
    )
    yield candidate, _refuse(candidate.image_url, item.text("filetype"))


def _refuse(url: str, filetype: str) -> Rejection | None:
    if not url:
        return Rejection("openverse", "no_address", "Openverse gives no address for this picture.")
    suffix = f".{filetype}" if filetype else PurePosixPath(urlsplit(url).path).suffix.lower()
    if suffix in NO_BITMAPS:
        return Rejection("openverse", "not_a_picture", f"Files of the kind {suffix!r} are not read as pictures.")
    return None
