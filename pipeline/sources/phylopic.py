"""PhyloPic: silhouettes of a clade. Black shapes on nothing: for masks and controls more than for texture.

Every response belongs to a numbered build of its database. A request without one is redirected to the newest; a build
that is gone gives status 410, and the list begins again with the newest. https://api-docs.phylopic.org/v2/
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import ClassVar, Literal

from pipeline.core.errors import HttpError, ServiceError
from pipeline.core.param_types import PositiveInt, SourceParams, Text
from pipeline.core.records import Candidate, Rejection, Request
from pipeline.sources.json_reader import JsonValue, read_object, web_address
from pipeline.sources.licences import address_of, spdx
from pipeline.sources.pagination import identified_by, limited, read_items, without_repeats
from pipeline.sources.source import POLITE, Fetch, Offer, Source, SourceContext

HOST = "api.phylopic.org"
SITE = "https://www.phylopic.org"
FILES = "https://images.phylopic.org/"
ACCEPT = "application/vnd.phylopic.v2+json"
GONE = 410
MAX_PAGES_OF_NAMES = 5  # the names that begin with what is sought come first
UUID = re.compile(r"/(?:nodes|contributors)/([0-9a-f-]{36})")


class PhyloPicParams(SourceParams):
    """PhyloPic: silhouettes of a clade, by its name."""

    kind: Literal["phylopic"]
    name: Text
    limit: PositiveInt = 100

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.name}"


class PhyloPicSource(Source[PhyloPicParams]):
    Params = PhyloPicParams
    hosts: ClassVar = {HOST: POLITE}
    wants_contact = True
    keeps_vanished = True

    def pictures(self, params: PhyloPicParams, context: SourceContext) -> Iterator[Offer]:
        """Silhouettes of the clade, from its most basal members to the most deeply nested ones."""
        yield from limited(params.limit, _silhouettes_of_one_build(params, context.fetch))


def _silhouettes_of_one_build(source: PhyloPicParams, fetch: Fetch) -> Iterator[Offer]:
    try:
        yield from _silhouettes(source, fetch, fresh=False)
    except HttpError as error:
        if error.status != GONE:
            raise
        yield from _silhouettes(source, fetch, fresh=True)  # what is offered again is the same picture


def _silhouettes(source: PhyloPicParams, fetch: Fetch, *, fresh: bool) -> Iterator[Offer]:
    uuid = _clade(source.name, fetch, fresh=fresh)
    pages = _pages(fetch, "images", ("filter_clade", uuid), fresh=fresh)
    for page in without_repeats(pages, identified_by("uuid"), source.label):
        yield from read_items(page, source.label, partial(_offer, source.label))


def _clade(name: str, fetch: Fetch, *, fresh: bool) -> str:
    """The id of the node with exactly this name: a search also finds names that merely contain it."""
    wanted = _normal(name)
    pages = _pages(fetch, "nodes", ("filter_name", wanted), fresh=fresh)
    for page in islice(pages, MAX_PAGES_OF_NAMES):
        for node in page:
            if wanted in map(_normal, _names(node)):
                return node.required_text("uuid")
    raise ServiceError(f"{HOST} has no silhouette of {name!r} or anything within it; name a wider clade")


def _names(node: JsonValue) -> list[str]:
    """The scientific names of a node, each without its author and year."""
    return [
        " ".join(part.text("text") for part in name.items() if part.text("class") == "scientific")
        for name in node.items("names")
    ]


def _pages(fetch: Fetch, what: str, sought: tuple[str, str], *, fresh: bool) -> Iterator[list[JsonValue]]:
    """All items of a list, page by page, of the build that its head names."""
    head = read_object(fetch(_request(what, sought, fresh=fresh)), HOST)
    build = head.required_text("build")
    for page in range(head.number("totalPages") or 0):
        more = (("build", build), ("embed_items", "true"), ("page", str(page)))
        response = read_object(fetch(_request(what, sought, *more)), HOST)
        yield response.object("_embedded").required_items("items")


def _request(what: str, *query: tuple[str, str], fresh: bool = False) -> Request:
    return Request(f"https://{HOST}/{what}", query, ACCEPT, fresh=fresh)


def _offer(label: str, image: JsonValue) -> Iterator[Offer]:
    key, links = image.required_text("uuid"), image.object("_links")
    href = links.text("license", "href")
    licence = spdx(href)
    author, author_url = _author(image, links)
    taxon = links.text("specificNode", "title") or links.text("self", "title")
    yield (
        Candidate(
            label,
            key,
            url := _largest(links),
            f"{SITE}/images/{key}",
            taxon,
            "",
            author,
            licence,
            address_of(licence),
            author_url,
            href,
            taxon=taxon,
            evidence=image.evidence,
        ),
        None if url else _no_raster(),
    )


def _author(image: JsonValue, links: JsonValue) -> tuple[str, str]:
    """Whom the picture is attributed to, or else who contributed it; the link is the contributor's."""
    attributed, contributor = image.text("attribution"), links.text("contributor", "title")
    if attributed and attributed != contributor:
        return attributed, ""
    uuid = UUID.search(links.text("contributor", "href"))
    return contributor, f"{SITE}/contributors/{uuid[1]}" if uuid else ""


def _largest(links: JsonValue) -> str:
    files = [(_pixels(file.text("sizes")), file.text("href")) for file in links.items("rasterFiles")]
    return web_address(max(files, default=(0.0, ""))[1], FILES)


def _pixels(sizes: str) -> float:
    """1536x1439 -> their product; files made from vectors have decimals."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)", sizes)
    return float(found[1]) * float(found[2]) if found else 0.0


def _no_raster() -> Rejection:
    return Rejection("phylopic", "not_a_picture", "PhyloPic has it as a drawing only, not as a bitmap.")


def _normal(name: str) -> str:
    """As `filter_name` requires it: small letters without accents, hyphens, single spaces."""
    bare = "".join(c for c in unicodedata.normalize("NFD", name.lower()) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^a-z-]+", " ", bare).split())
