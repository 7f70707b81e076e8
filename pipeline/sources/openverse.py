"""Openverse: openly licensed pictures of many collections by a search, anonymously or as a registered client.

A client gets more: 500 pictures an answer instead of 20, 10 000 questions a day instead of 200.
https://api.openverse.org/v1/
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from pipeline.core.errors import ServiceError
from pipeline.core.records import Answer, Candidate, Rejection, Request
from pipeline.core.source_params import API_HOSTS, OpenverseSource
from pipeline.sources.json_reader import Reading, opened
from pipeline.sources.licences import address_of, first_named
from pipeline.sources.pagination import Ask, Offer, answers, at_most, each, new, told_by

HOST = API_HOSTS["openverse"]
PER_ANSWER, PER_ANSWER_AS_CLIENT = 20, 500  # one more is refused with 401
NO_BITMAPS = (".svg", ".pdf", ".djvu")


def pictures(
    source: OpenverseSource, root: Path, seed: int, ask: Ask, credentials: tuple[str, str] | None = None
) -> Iterator[Offer]:
    """What the search finds, best first. `credentials`: id and secret of a registered client.

    Raises
    ------
    ServiceError
        When Openverse cannot be asked, its budget is used up, or it knows no such client.
    """
    authorization = read_token(ask(token_request(*credentials))) if credentials else ""
    first = _request(source, authorization, page=1)
    pages = _pages(ask, first, partial(_following, source, authorization), source.label)
    listed = new(pages, told_by("id"), source.label)
    found = (offer for page in listed for offer in each(page, source.label, partial(_offer, source.label)))
    yield from at_most(source.limit, found)


def token_request(client_id: str, client_secret: str) -> Request:
    """The question for an access token (OAuth 2.0, client credentials: RFC 6749, 4.4)."""
    form = (("grant_type", "client_credentials"), ("client_id", client_id), ("client_secret", client_secret))
    return Request(f"https://{HOST}/v1/auth_tokens/token/", form=form, fresh=True)


def read_token(answer: Answer) -> str:
    """The value of the header Authorization."""
    token = opened(answer, HOST).text("access_token")
    if not token:
        raise ServiceError(f"{HOST} gave no access token; check the credentials of the registered client")
    return f"Bearer {token}"


def _request(source: OpenverseSource, authorization: str, page: int) -> Request:
    size = min(source.limit, PER_ANSWER_AS_CLIENT if authorization else PER_ANSWER)
    category = (("category", source.category),) if source.category else ()
    query = (("q", source.query), *category, ("filter_dead", "true"), ("page_size", str(size)), ("page", str(page)))
    return Request(f"https://{HOST}/v1/images/", query, authorization=authorization)


def _following(source: OpenverseSource, authorization: str, answer: Answer) -> Request | None:
    said = Reading(answer.value, HOST)
    page, count = said.number("page") or 1, said.number("page_count") or 0
    return _request(source, authorization, page + 1) if page < count else None


def _pages(ask: Ask, first: Request, following, name: str) -> Iterator[list[Reading]]:
    for answer in answers(ask, first, following, name):
        yield opened(answer, HOST).listed("results")


def _offer(label: str, item: Reading) -> Iterator[Offer]:
    code, version, link = (item.text(key) for key in ("license", "license_version", "license_url"))
    licence = first_named(link, f"{code} {version}")  # the address also says of which country it is
    candidate = Candidate(
        label,
        item.needed("id"),
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
        return Rejection("openverse", "no_address", "Openverse says of this picture not where it lies.")
    suffix = f".{filetype}" if filetype else PurePosixPath(urlsplit(url).path).suffix.lower()
    if suffix in NO_BITMAPS:
        return Rejection("openverse", "not_a_picture", f"Files of the kind {suffix!r} are not read as pictures.")
    return None
