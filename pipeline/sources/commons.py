"""Wikimedia Commons: the files of a category and its subcategories, or of a search (MediaWiki Action API).

A response may hold a part of a batch: pages are merged by their id until `batchcomplete`, and every key of `continue`
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
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pipeline.core.data_params import Host
from pipeline.core.errors import ParamsError, ServiceError
from pipeline.core.param_types import NonNegativeInt, PositiveInt, SourceParams, Text
from pipeline.core.records import ApiResponse, Candidate, Rejection, Request
from pipeline.sources.json_reader import JsonValue, read_object
from pipeline.sources.licences import address_of, first_named
from pipeline.sources.markup import plain
from pipeline.sources.pagination import endless_list, identified_by, limited, paginate, read_items, without_repeats
from pipeline.sources.source import POLITE, Fetch, Offer, Source, SourceContext

HOST = "commons.wikimedia.org"
BASE = f"https://{HOST}/"
WIDTH_PX = 1920  # one of the few widths that thumbnails are served in; a wider original is reduced to it
PAGE_SIZE = 50  # no more files of a response get the address of a thumbnail
MAX_ROUNDS = 100  # responses to one batch
MAX_CATEGORIES = 2000
CATEGORY = "Category:"
QUERY = (
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


class CommonsParams(SourceParams):
    """Wikimedia Commons: a category with its subcategories, or a search."""

    kind: Literal["commons"]
    category: Text | None = None
    """Without "Category:"."""
    search: Text | None = None
    depth: NonNegativeInt = 2
    """Levels of subcategories."""
    limit: PositiveInt = 500
    """Pictures at most."""

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.category or self.search}"


class CommonsSource(Source[CommonsParams]):
    Params = CommonsParams
    hosts: ClassVar = {
        HOST: POLITE,
        "upload.wikimedia.org": Host(connections=2, requests_per_second=2),
        "thumb.wikimedia.org": Host(connections=2, requests_per_second=2),
    }
    wants_contact = True
    keeps_vanished = True

    def check(self, params: CommonsParams, root: Path) -> None:
        if not (params.category or params.search):
            raise ParamsError("a source of kind 'commons' needs `category:` or `search:` in params.yaml")

    def pictures(self, params: CommonsParams, context: SourceContext) -> Iterator[Offer]:
        """Files of the category tree, breadth first, then those of the search, best first."""
        self.check(params, context.root)
        batches = chain(_tree(params, context.fetch), _search(params, context.fetch))
        offers = (
            offer for batch in batches for offer in read_items(batch, params.label, partial(_offer, params.label))
        )
        return limited(params.limit, offers)


def _tree(source: CommonsParams, fetch: Fetch) -> Iterator[list[JsonValue]]:
    """The files of one category after the other; each is entered once, so a loop among them ends."""
    first = CATEGORY + (source.category or "").removeprefix(CATEGORY).replace("_", " ").strip()
    waiting = deque([(first, 0)] if source.category else [])
    entered = {first}
    while waiting:
        category, level = waiting.popleft()
        deeper = level < source.depth
        for batch in _members(fetch, category, deeper=deeper):
            below = [title for title in map(_title, batch) if deeper and _is_category(title) and title not in entered]
            entered.update(below)
            waiting.extend((title, level + 1) for title in below)
            yield [page for page in batch if not _is_category(_title(page))]
            if len(entered) > MAX_CATEGORIES:
                raise endless_list(first, f"it has more than {MAX_CATEGORIES} categories below it; lower `depth:`")


def _members(fetch: Fetch, category: str, *, deeper: bool) -> Iterator[list[JsonValue]]:
    kinds = "file|subcat" if deeper else "file"
    listed = (
        ("generator", "categorymembers"),
        ("gcmtitle", category),
        ("gcmtype", kinds),
        ("gcmlimit", str(PAGE_SIZE)),
    )
    return without_repeats(_batches(fetch, listed, category), identified_by("pageid", "title"), category)


def _search(source: CommonsParams, fetch: Fetch) -> Iterator[list[JsonValue]]:
    if not source.search:
        return iter(())
    words = source.search if "filetype:" in source.search else f"filetype:bitmap {source.search}"
    listed = (("generator", "search"), ("gsrsearch", words), ("gsrnamespace", "6"), ("gsrlimit", str(PAGE_SIZE)))
    return without_repeats(_batches(fetch, listed, source.search), identified_by("pageid", "title"), source.search)


def _batches(fetch: Fetch, listed: tuple[tuple[str, str], ...], name: str) -> Iterator[list[JsonValue]]:
    """Whole batches of pages; when the list fails within one, those of its pages that are described already."""
    pages: dict[str, JsonValue] = {}
    rounds = 0
    try:
        for response in paginate(fetch, _request(listed), partial(_continued, listed), name):
            _merge(pages, _pages(read_object(response, HOST)))
            rounds += 1
            if "batchcomplete" in response.value or "continue" not in response.value:
                yield sorted(pages.values(), key=_rank)
                pages, rounds = {}, 0
            elif rounds == MAX_ROUNDS:
                raise endless_list(name, f"a batch of it is not complete after {rounds} responses")
    except ServiceError:
        yield [page for page in pages.values() if page.value.get("imageinfo")]
        raise


def _request(listed: tuple[tuple[str, str], ...], *more: tuple[str, str]) -> Request:
    return Request(f"{BASE}w/api.php", (*QUERY, *listed, *more))


def _continued(listed: tuple[tuple[str, str], ...], response: ApiResponse) -> Request | None:
    token = JsonValue(response.value, HOST).object("continue")
    return _request(listed, *((key, token.text(key)) for key in token.value)) if token.value else None


def _pages(response: JsonValue) -> list[JsonValue]:
    """The pages of a response: a list, or in older versions of the API an object by page id."""
    found = response.object("query")
    if not isinstance(found.value.get("pages"), dict):
        return found.items("pages")
    pages = found.object("pages")
    return [pages.object(key) for key in pages.value]


def _merge(pages: dict[str, JsonValue], more: Iterable[JsonValue]) -> None:
    """Add the fields of each page; its evidence is the response that describes the file."""
    for page in more:
        page = page.object()
        key = identified_by("pageid", "title")(page)
        known = pages.get(key, replace(page, value={}))
        fields = {name: value for name, value in page.value.items() if value not in (None, [], {})}
        evidence = page.evidence if fields.get("imageinfo") or not known.evidence else known.evidence
        pages[key] = replace(page, value={**known.value, **fields}, evidence=evidence)


def _rank(page: JsonValue) -> int:
    """Its rank in a search; a response lists its pages by their ids."""
    return index if isinstance(index := page.value.get("index"), int) else 0


def _title(page: JsonValue) -> str:
    return str(page.value.get("title", ""))


def _is_category(title: str) -> bool:
    return title.startswith(CATEGORY)


def _offer(label: str, page: JsonValue) -> Iterator[Offer]:
    about = page.items("imageinfo")
    if not about or about[0].boolean("filemissing"):
        yield _missing(label, page)
        return
    info = about[0].object()
    candidate = _candidate(label, page, info)
    yield candidate, None if candidate.image_url else _no_picture(info)


def _missing(label: str, page: JsonValue) -> Offer:
    key = page.text("pageid") or page.required_text("title")
    candidate = Candidate(label, key, "", title=page.text("title"), evidence=page.evidence)
    return candidate, Rejection("commons", "file_missing", "Commons names this file but does not have it.")


def _candidate(label: str, page: JsonValue, info: JsonValue) -> Candidate:
    metadata = info.object("extmetadata")
    author, author_url = _author(info, metadata)
    code, url, name, terms = (
        metadata.text(key, "value") for key in ("License", "LicenseUrl", "LicenseShortName", "UsageTerms")
    )
    licence = first_named(code, url, name, terms)
    return Candidate(
        label,
        page.text("pageid") or page.required_text("title"),
        _image_url(info),
        info.address("descriptionurl"),
        _name(page.text("title")),
        plain(metadata.text("ImageDescription", "value"), BASE)[0],
        author,
        licence,
        address_of(licence) or url,
        author_url,
        name or terms or code or url,
        _shows(page.text("title"), metadata),
        evidence=page.evidence,
    )


def _image_url(info: JsonValue) -> str:
    """The original, or a thumbnail where that is smaller or can be read at all; empty when it is no picture."""
    original, thumbnail = info.address("url"), info.address("thumburl")
    suffix = _suffix(original)
    if suffix in BETTER_AS_THUMBNAILS or (suffix in BITMAPS and (info.number("width") or 0) > WIDTH_PX):
        original = thumbnail or original
    return original if _suffix(original) in BITMAPS else ""


def _no_picture(info: JsonValue) -> Rejection:
    url = info.address("url")
    if not url:
        return Rejection("commons", "no_address", "Commons gives no address for this file.")
    return Rejection("commons", "not_a_picture", f"Files of the kind {_suffix(url)!r} are not read as pictures.")


def _author(info: JsonValue, metadata: JsonValue) -> tuple[str, str]:
    """Who made it, and where to find them: the artist, the wished attribution, or who uploaded a work of their own."""
    for key in ("Artist", "Attribution"):
        author, link = plain(metadata.text(key, "value"), BASE)
        if author:
            return author, link
    own = OWN_WORK in metadata.text("Credit", "value")
    return (info.text("user"), "") if own else ("", "")


def _shows(title: str, metadata: JsonValue) -> str:
    """ "specimen" where the name or a category names remains and none names a restoration."""
    words = " | ".join([_name(title), metadata.text("Categories", "value")])
    return "specimen" if SPECIMEN.search(words) and not RESTORED.search(words) else ""


def _name(title: str) -> str:
    """File:Pteranodon_skull.jpg -> Pteranodon skull"""
    return PurePosixPath(title.removeprefix("File:").replace("/", "∕")).stem.replace("_", " ")


def _suffix(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).suffix.lower()
