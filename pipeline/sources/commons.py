"""Wikimedia Commons: the files of a category and its subcategories, or of a search (MediaWiki Action API).

An answer may hold a part of a batch: pages are merged by their id until `batchcomplete`, and every key of `continue`
is sent back. Public-domain files come without LicenseUrl; their licence is read from `License`.
https://www.mediawiki.org/wiki/API:Continue, https://www.mediawiki.org/wiki/Extension:CommonsMetadata
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from pipeline.core.errors import ParamsError, ServiceError
from pipeline.core.records import Answer, Candidate, Rejection, Request
from pipeline.core.source_params import API_HOSTS, CommonsSource
from pipeline.sources.json_reader import Reading, opened
from pipeline.sources.licences import address_of, first_named
from pipeline.sources.markup import plain
from pipeline.sources.pagination import Ask, Offer, answers, at_most, each, never_ends, new, told_by

HOST = API_HOSTS["commons"]
BASE = f"https://{HOST}/"
WIDTH_PX = 1920  # one of the few widths that thumbnails are served in; a wider original is reduced to it
PER_ANSWER = 50  # no more files of an answer get the address of a thumbnail
MAX_ROUNDS = 100  # answers to one batch
MAX_CATEGORIES = 2000
CATEGORY = "Category:"
ASKED = (
    ("action", "query"),
    ("format", "json"),
    ("formatversion", "2"),
    ("maxlag", "5"),
    ("prop", "imageinfo"),
    ("iiprop", "url|size|user|extmetadata"),
    ("iiurlwidth", str(WIDTH_PX)),
    ("iilimit", "1"),
    (
        "iiextmetadatafilter",
        "License|LicenseShortName|LicenseUrl|UsageTerms|Artist|Credit|Attribution|ImageDescription|Categories",
    ),
)
BITMAPS = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".tif", ".tiff")
BETTER_AS_THUMBNAILS = (".svg", ".xcf", ".tif", ".tiff")  # the server draws them as PNG or JPEG
SPECIMEN = re.compile(
    r"(?<!living )\b(fossils?|skeletons?|skulls?|specimens?|holotypes?|paratypes?|bones?|carcass(es)?)\b", re.I
)
RESTORED = re.compile(r"\b(pala?eoart|life restorations?|life reconstructions?)\b", re.I)
OWN_WORK = "int-own-work"  # the class of "Own work" in the field Credit, in every language


def pictures(source: CommonsSource, root: Path, seed: int, ask: Ask) -> Iterator[Offer]:
    """Files of the category tree, breadth first, then those of the search, best first.

    Raises
    ------
    ParamsError
        When the source names neither a category nor a search.
    ServiceError
        When Commons cannot be asked or answers with an error; what was found before has been yielded.
    """
    if not (source.category or source.search):
        raise ParamsError("a source of kind 'commons' needs `category:` or `search:` in params.yaml")
    batches = chain(_tree(source, ask), _search(source, ask))
    found = (offer for batch in batches for offer in each(batch, source.label, partial(_offer, source.label)))
    return at_most(source.limit, found)


def _tree(source: CommonsSource, ask: Ask) -> Iterator[list[Reading]]:
    """The files of one category after the other; each is entered once, so a loop among them ends."""
    first = CATEGORY + (source.category or "").removeprefix(CATEGORY).replace("_", " ").strip()
    waiting = deque([(first, 0)] if source.category else [])
    entered = {first}
    while waiting:
        category, level = waiting.popleft()
        deeper = level < source.depth
        for batch in _members(ask, category, deeper=deeper):
            below = [title for title in map(_title, batch) if deeper and _is_category(title) and title not in entered]
            entered.update(below)
            waiting.extend((title, level + 1) for title in below)
            yield [page for page in batch if not _is_category(_title(page))]
            if len(entered) > MAX_CATEGORIES:
                raise never_ends(first, f"it has more than {MAX_CATEGORIES} categories below it; lower `depth:`")


def _members(ask: Ask, category: str, *, deeper: bool) -> Iterator[list[Reading]]:
    kinds = "file|subcat" if deeper else "file"
    listed = (
        ("generator", "categorymembers"),
        ("gcmtitle", category),
        ("gcmtype", kinds),
        ("gcmlimit", str(PER_ANSWER)),
    )
    return new(_batches(ask, listed, category), told_by("pageid", "title"), category)


def _search(source: CommonsSource, ask: Ask) -> Iterator[list[Reading]]:
    if not source.search:
        return iter(())
    words = source.search if "filetype:" in source.search else f"filetype:bitmap {source.search}"
    listed = (("generator", "search"), ("gsrsearch", words), ("gsrnamespace", "6"), ("gsrlimit", str(PER_ANSWER)))
    return new(_batches(ask, listed, source.search), told_by("pageid", "title"), source.search)


def _batches(ask: Ask, listed: tuple[tuple[str, str], ...], name: str) -> Iterator[list[Reading]]:
    """Whole batches of pages; when the list fails within one, those of its pages that are described already."""
    pages: dict[str, Reading] = {}
    rounds = 0
    try:
        for answer in answers(ask, _request(listed), partial(_continued, listed), name):
            _merge(pages, _pages(opened(answer, HOST)))
            rounds += 1
            if "batchcomplete" in answer.value or "continue" not in answer.value:
                yield sorted(pages.values(), key=_rank)
                pages, rounds = {}, 0
            elif rounds == MAX_ROUNDS:
                raise never_ends(name, f"a batch of it is not complete after {rounds} answers")
    except ServiceError:
        yield [page for page in pages.values() if page.value.get("imageinfo")]
        raise


def _request(listed: tuple[tuple[str, str], ...], *more: tuple[str, str]) -> Request:
    return Request(f"{BASE}w/api.php", (*ASKED, *listed, *more))


def _continued(listed: tuple[tuple[str, str], ...], answer: Answer) -> Request | None:
    token = Reading(answer.value, HOST).object("continue")
    return _request(listed, *((key, token.text(key)) for key in token.value)) if token.value else None


def _pages(said: Reading) -> list[Reading]:
    """The pages of an answer: a list, or in older answers an object by page id."""
    found = said.object("query")
    if not isinstance(found.value.get("pages"), dict):
        return found.items("pages")
    pages = found.object("pages")
    return [pages.object(key) for key in pages.value]


def _merge(pages: dict[str, Reading], more: Iterable[Reading]) -> None:
    """Add what an answer says of each page; its evidence is the answer that describes the file."""
    for page in more:
        page = page.object()
        key = told_by("pageid", "title")(page)
        known = pages.get(key, replace(page, value={}))
        said = {name: value for name, value in page.value.items() if value not in (None, [], {})}
        evidence = page.evidence if said.get("imageinfo") or not known.evidence else known.evidence
        pages[key] = replace(page, value={**known.value, **said}, evidence=evidence)


def _rank(page: Reading) -> int:
    """Where a search has it; an answer lists its pages by their ids."""
    return index if isinstance(index := page.value.get("index"), int) else 0


def _title(page: Reading) -> str:
    return str(page.value.get("title", ""))


def _is_category(title: str) -> bool:
    return title.startswith(CATEGORY)


def _offer(label: str, page: Reading) -> Iterator[Offer]:
    about = page.items("imageinfo")
    if not about or about[0].truth("filemissing"):
        yield _missing(label, page)
        return
    info = about[0].object()
    candidate = _candidate(label, page, info)
    yield candidate, None if candidate.image_url else _no_picture(info)


def _missing(label: str, page: Reading) -> Offer:
    key = page.text("pageid") or page.needed("title")
    candidate = Candidate(label, key, "", title=page.text("title"), evidence=page.evidence)
    return candidate, Rejection("commons", "file_missing", "Commons names this file but does not have it.")


def _candidate(label: str, page: Reading, info: Reading) -> Candidate:
    said = info.object("extmetadata")
    author, author_url = _author(info, said)
    code, url, name, terms = (
        said.text(key, "value") for key in ("License", "LicenseUrl", "LicenseShortName", "UsageTerms")
    )
    licence = first_named(code, url, name, terms)
    return Candidate(
        label,
        page.text("pageid") or page.needed("title"),
        _image_url(info),
        info.address("descriptionurl"),
        _name(page.text("title")),
        plain(said.text("ImageDescription", "value"), BASE)[0],
        author,
        licence,
        address_of(licence) or url,
        author_url,
        name or terms or code or url,
        _shows(page.text("title"), said),
        evidence=page.evidence,
    )


def _image_url(info: Reading) -> str:
    """The original, or a thumbnail where that is smaller or can be read at all; empty when it is no picture."""
    original, thumbnail = info.address("url"), info.address("thumburl")
    suffix = _suffix(original)
    if suffix in BETTER_AS_THUMBNAILS or (suffix in BITMAPS and (info.number("width") or 0) > WIDTH_PX):
        original = thumbnail or original
    return original if _suffix(original) in BITMAPS else ""


def _no_picture(info: Reading) -> Rejection:
    url = info.address("url")
    if not url:
        return Rejection("commons", "no_address", "Commons says of this file not where it lies.")
    return Rejection("commons", "not_a_picture", f"Files of the kind {_suffix(url)!r} are not read as pictures.")


def _author(info: Reading, said: Reading) -> tuple[str, str]:
    """Who made it, and where to find them: the artist, the wished attribution, or who uploaded a work of their own."""
    for key in ("Artist", "Attribution"):
        author, link = plain(said.text(key, "value"), BASE)
        if author:
            return author, link
    own = OWN_WORK in said.text("Credit", "value")
    return (info.text("user"), "") if own else ("", "")


def _shows(title: str, said: Reading) -> str:
    """ "specimen" where the name or a category says so and none says that it is a restoration."""
    words = " | ".join([_name(title), said.text("Categories", "value")])
    return "specimen" if SPECIMEN.search(words) and not RESTORED.search(words) else ""


def _name(title: str) -> str:
    """File:Pteranodon_skull.jpg -> Pteranodon skull"""
    return PurePosixPath(title.removeprefix("File:").replace("/", "∕")).stem.replace("_", " ")


def _suffix(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).suffix.lower()
