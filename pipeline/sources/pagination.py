"""Going through a list page by page, to its end and no further.

Whatever goes wrong, what was found before is yielded first: a list that fails on its third page has given two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from pipeline.core.errors import ServiceError
from pipeline.core.records import Answer, Candidate, Rejection, Request
from pipeline.sources.json_reader import ChangedAnswer, Reading, clean

Ask = Callable[[Request], Answer]
Offer = tuple[Candidate, bytes | Rejection | None]  # None: the picture is to be fetched from its image_url
MAX_STALE = 3  # pages in a row without anything new


def answers(ask: Ask, first: Request, following: Callable[[Answer], Request | None], name: str) -> Iterator[Answer]:
    """The answers to `first` and to whatever each answer says comes next.

    Raises
    ------
    ServiceError
        From `ask`, or when the list `name` leads back to a page that it had already.
    """
    request: Request | None = first
    asked: set[Request] = set()
    while request is not None:
        if request in asked:
            raise never_ends(name, "it leads back to a page that was read before")
        asked.add(request)
        answer = ask(request)
        yield answer
        request = following(answer)


def new(pages: Iterable[list[Reading]], key: Callable[[Reading], str], name: str) -> Iterator[list[Reading]]:
    """Every page without what an earlier one had.

    Raises
    ------
    ServiceError
        When several pages in a row bring nothing new and there is still another.
    """
    seen: set[str] = set()
    stale = 0
    for page in pages:
        if stale >= MAX_STALE:
            raise never_ends(name, f"{stale} pages in a row brought nothing new")
        fresh = {key(item): item for item in page if key(item) not in seen}
        stale = 0 if fresh else stale + 1
        seen |= fresh.keys()
        yield list(fresh.values())


def told_by(*keys: str) -> Callable[[Reading], str]:
    """What tells items apart: the first of these keys that an item has, or else its place."""

    def identity(item: Reading) -> str:
        said = item.value if isinstance(item.value, dict) else {}
        return next((str(said[key]) for key in keys if said.get(key)), f"{item.evidence[:12]}:{item.path}")

    return identity


def at_most(limit: int, offers: Iterable[Offer]) -> Iterator[Offer]:
    """Every picture once, no more than `limit`; one that comes with a Rejection counts too, so it ends in any case."""
    return islice(_once(offers), limit)


def _once(offers: Iterable[Offer]) -> Iterator[Offer]:
    seen: set[str] = set()
    for offer in offers:
        if offer[0].source_id not in seen:
            seen.add(offer[0].source_id)
            yield offer


def each(items: list[Reading], label: str, offers: Callable[[Reading], Iterable[Offer]]) -> Iterator[Offer]:
    """The offers of every item; an item that cannot be read becomes a Rejection.

    Raises
    ------
    ChangedAnswer
        When not one of the items can be read: then it is not the item that is wrong.
    """
    found: list[Offer] = []
    broken: list[ChangedAnswer] = []
    for item in items:
        try:
            found.extend(list(offers(item)))  # all of an item or nothing of it
        except ChangedAnswer as error:
            broken.append(error)
            found.append(_unreadable(item, label, error))
    if broken and len(broken) == len(items):
        raise broken[0]
    yield from found


def never_ends(name: str, why: str) -> ServiceError:
    return ServiceError(f"the list of {name} never ends: {why}")


def _unreadable(item: Reading, label: str, error: ChangedAnswer) -> Offer:
    name = clean(told_by("id", "key", "uuid", "pageid")(item))
    return Candidate(label, name, "", evidence=item.evidence), Rejection(
        "source", "malformed_item", f"It cannot be read: {error}."
    )
