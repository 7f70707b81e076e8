"""Pagination: going through the list of a web API page by page, to its end and no further.

Whatever goes wrong, what was found before is yielded first: a list that fails on its third page has given two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from pipeline.core.errors import ServiceError
from pipeline.core.records import ApiResponse, Candidate, Rejection, Request
from pipeline.sources.json_reader import ChangedResponse, JsonValue, clean
from pipeline.sources.source import Fetch, Offer

MAX_STALE = 3  # pages in a row without anything new


def paginate(
    fetch: Fetch, first: Request, following: Callable[[ApiResponse], Request | None], name: str
) -> Iterator[ApiResponse]:
    """The responses to `first` and to the request that follows from each response, until that is None.

    Raises
    ------
    ServiceError
        From `fetch`, or when the list `name` leads back to a page that it had already.
    """
    request: Request | None = first
    sent: set[Request] = set()
    while request is not None:
        if request in sent:
            raise endless_list(name, "it leads back to a page that was read before")
        sent.add(request)
        response = fetch(request)
        yield response
        request = following(response)


def without_repeats(
    pages: Iterable[list[JsonValue]], key: Callable[[JsonValue], str], name: str
) -> Iterator[list[JsonValue]]:
    """Every page without the items that an earlier one had.

    Raises
    ------
    ServiceError
        When several pages in a row bring nothing new and there is still another.
    """
    seen: set[str] = set()
    stale = 0
    for page in pages:
        if stale >= MAX_STALE:
            raise endless_list(name, f"{stale} pages in a row brought nothing new")
        fresh = {key(item): item for item in page if key(item) not in seen}
        stale = 0 if fresh else stale + 1
        seen |= fresh.keys()
        yield list(fresh.values())


def identified_by(*keys: str) -> Callable[[JsonValue], str]:
    """An item's identity: the first of these keys that it has, or else its place in the response."""

    def identity(item: JsonValue) -> str:
        record = item.value if isinstance(item.value, dict) else {}
        return next((str(record[key]) for key in keys if record.get(key)), f"{item.evidence[:12]}:{item.path}")

    return identity


def limited(limit: int, offers: Iterable[Offer]) -> Iterator[Offer]:
    """Every picture once, no more than `limit`; one that comes with a Rejection counts too, so it ends in any case."""
    return islice(_unique(offers), limit)


def _unique(offers: Iterable[Offer]) -> Iterator[Offer]:
    seen: set[str] = set()
    for offer in offers:
        if offer[0].source_id not in seen:
            seen.add(offer[0].source_id)
            yield offer


def read_items(items: list[JsonValue], label: str, offers: Callable[[JsonValue], Iterable[Offer]]) -> Iterator[Offer]:
    """The offers of every item; an item that cannot be read becomes a Rejection.

    Raises
    ------
    ChangedResponse
        When not one of the items can be read: then it is not the item that is wrong.
    """
    found: list[Offer] = []
    broken: list[ChangedResponse] = []
    for item in items:
        try:
            found.extend(list(offers(item)))  # all of an item or nothing of it
        except ChangedResponse as error:
            broken.append(error)
            name = clean(identified_by("id", "key", "uuid", "pageid")(item))
            rejection = Rejection("source", "malformed_item", f"It cannot be read: {error}.")
            found.append((Candidate(label, name, "", evidence=item.evidence), rejection))
    if broken and len(broken) == len(items):
        raise broken[0]
    yield from found


def endless_list(name: str, reason: str) -> ServiceError:
    return ServiceError(f"the list of {name} never ends: {reason}")
