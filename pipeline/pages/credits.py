"""Who made the pictures that a model learnt from: for the page, and as a file to go with the model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from pipeline.pages import counted

MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~])")
# Not by a backslash, which not every program that shows Markdown takes before these; a written-out address would become
# a link by its `://`.
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "://": "&#58;//"}
# Control characters, and those that turn the direction of all text after them.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
UNSAFE_IN_ADDRESS = re.compile(f'[\\s<>\\\\"`]|{UNSEEN.pattern}')
PBDB = "Names, ranks and ages are from [The Paleobiology Database](<https://paleobiodb.org>), CC BY 4.0."
SPLIT_WORDS = {"train": "trained on", "holdout": "held out"}


def web_address(text: str) -> str:
    """The address if it is one of the web, else nothing: no other scheme may become a link."""
    return text if text.startswith(("https://", "http://")) else ""


def credit(row: Mapping[str, Any]) -> dict[str, str]:
    """What is said of a picture wherever it is shown; `thumb` is relative to the page of its species."""
    return {
        "file_name": row["file_name"],
        "title": row["title"] or row["source_id"],
        "caption": row["caption"],
        "author": row["author"] or "unknown author",
        "licence": row["licence"] or "unknown licence",
        "licence_url": web_address(row["licence_url"] or ""),
        "page": web_address(row["page_url"] or "") or web_address(row["image_url"] or ""),
        "source": row["source"],
        "split": SPLIT_WORDS.get(row["split"], row["split"]),
        "thumb": f"thumbs/{row['sha256']}.webp",
    }


def licence_counts(credits: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """How many pictures there are of each licence, the most frequent first."""
    counts = Counter(entry["licence"] for entry in credits)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def credits_file(name: str, credits: Sequence[Mapping[str, str]]) -> str:
    """CREDITS.md: every picture with author, licence and source."""
    lines = [f"# Pictures of {_escaped(name)}", "", f"{counted(len(credits), 'picture')}: {_counts(credits)}.", ""]
    return "\n".join([*lines, *(_line(entry) for entry in credits)]) + "\n"


def collection_credits(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """CREDITS.md of what was collected: rows of the manifest, by licence, then by author."""
    by_licence: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["author"].casefold(), row["source"], row["source_id"])):
        by_licence.setdefault(row["licence"], []).append(row)
    lines = [f"# Collected pictures of {_escaped(name)}", "", f"{counted(len(rows), 'picture')}, as published.", ""]
    for licence, group in sorted(by_licence.items(), key=lambda item: (-len(item[1]), item[0])):
        lines += [f"## {_escaped(licence)}: {counted(len(group), 'picture')}", "", *map(_collected, group), ""]
    return "\n".join(lines)


def site_credits(animals: Sequence[tuple[str, Sequence[Mapping[str, str]]]], *, cites_pbdb: bool) -> str:
    """CREDITS.md of the whole site: each animal's name with its entries of `credit`."""
    every = [entry for _, entries in animals for entry in entries]
    lines = ["# Pictures on this site", "", f"{counted(len(every), 'picture')}: {_counts(every) or 'none'}.", ""]
    for name, entries in animals:
        lines += [f"## {_escaped(name)}", "", *map(_line, entries), ""]
    return "\n".join([*lines, *(["## Taxa", "", PBDB, ""] if cites_pbdb else [])])


def _collected(row: Mapping[str, Any]) -> str:
    title = _linked(row["title"] or row["source_id"], web_address(row["page_url"]) or row["image_url"])
    author = _linked(row["author"] or "unknown author", row["author_url"])
    return f"- {title}, {author}, {_linked(row['licence'], row['licence_url'])} (`{row['sha256'][:16]}`)"


def _line(entry: Mapping[str, str]) -> str:
    title = _linked(entry["title"], entry["page"])
    licence = _linked(entry["licence"], entry["licence_url"])
    where = f"({_escaped(entry['split'])}, `{entry['file_name'].replace('`', '')}`)"
    return f"- {title}, {_escaped(entry['author'])}, {licence} {where}"


def _linked(text: str, address: str) -> str:
    """A link, if the address is one of the web."""
    safe = UNSAFE_IN_ADDRESS.sub(lambda found: quote(found.group()), web_address(address))
    safe = re.sub(r"&(?=#?\w+;)", "&amp;", safe)
    return f"[{_escaped(text)}](<{safe}>)" if safe else _escaped(text)


def _escaped(text: str) -> str:
    """As plain words in Markdown and in the HTML that is made of it, on one line."""
    line = UNSEEN.sub("", " ".join(text.split()))
    entities = re.compile("|".join(map(re.escape, ENTITIES)))
    return entities.sub(lambda found: ENTITIES[found.group()], MARKDOWN.sub(r"\\\1", line))


def _counts(credits: Iterable[Mapping[str, str]]) -> str:
    return ", ".join(f"{number} {_escaped(licence)}" for licence, number in licence_counts(credits).items())
