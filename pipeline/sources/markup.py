"""The text and the first link of a scrap of HTML, such as Commons uses for authors and descriptions."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

from pipeline.sources.json_reader import clean, web_address

BLOCKS = {"p", "div", "br", "li", "ul", "ol", "dl", "dd", "dt", "td", "th", "tr", "table", "hr", "h1", "h2", "h3"}
SILENT = {"script", "style", "template", "head", "title"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


def plain(markup: str, base: str) -> tuple[str, str]:
    """What a reader sees of it on one line, and the address that its first link leads to.

    `base` completes links without a host. A link to a page that is not written yet leads nowhere and does not count.
    """
    if "<" not in markup and "&" not in markup:
        return clean(markup), ""
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    links = (web_address(link, base) for link in reader.links)
    return clean("".join(reader.pieces)), next((link for link in links if link and not _unwritten(link)), "")


class _Reader(HTMLParser):
    """Collects what is visible. `hidden` are the open elements from the first invisible one on."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.links: list[str] = []
        self.hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        if tag not in VOID and (self.hidden or tag in SILENT or _invisible(found)):
            self.hidden.append(tag)
        elif tag == "a" and found.get("href"):
            self.links.append(found["href"])
        self._space(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.hidden:
            del self.hidden[len(self.hidden) - 1 - self.hidden[::-1].index(tag) :]
        self._space(tag)

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.pieces.append(data)

    def _space(self, tag: str) -> None:
        if tag in BLOCKS:
            self.pieces.append(" ")


def _invisible(attributes: dict[str, str]) -> bool:
    return "display:none" in attributes.get("style", "").replace(" ", "").lower()


def _unwritten(link: str) -> bool:
    return parse_qs(urlsplit(link).query).get("redlink") == ["1"]
