"""Captions from the description that a source gives of a picture, or from its title.

Sources write for people who see a page around the picture: markup, file names and numbers go, one line is left.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

TAG = re.compile(r"<(?:style|script)\b.*?</(?:style|script)>|<!--.*?-->|</?[a-zA-Z][^<>]*>", re.DOTALL)
TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")  # [[page|text]] and [[page]]
OUTSIDE_LINK = re.compile(r"\[(?:https?:)?//\S+\s*([^\[\]]*)\]")
ADDRESS = re.compile(r"https?://\S+")
QUOTES = re.compile(r"'{2,}")  # bold and italic in wiki text
FILE = re.compile(r"^(?:file|image|datei|bild|fichier|archivo)\s*:\s*", re.IGNORECASE)
SUFFIX = re.compile(r"\.(?:jpe?g|png|webp|gif|bmp|tiff?|avif|svg)$", re.IGNORECASE)
NUMBERING = re.compile(r"^\(?\d+[.):_-]+\s*|\s*\(\d+\)$|[_-]\d+$|\s0\d+$")  # 12. …, … (3), …_03, … 007; no year
CAMERA = re.compile(r"^(?:DSC|IMG|PICT|P|DSCN|DSCF|IMGP|SAM|scan|image|picture|untitled)[\s_-]*\d*$", re.IGNORECASE)
WORDS = re.compile(r"[^\W\d_]{2,}")


def of_source(row: Mapping[str, str], max_words: int) -> str:
    """The caption of a row of the manifest by its `caption` or else its `title`; empty when neither has words."""
    return clean(row["caption"], max_words) or clean(_without_file_name(row["title"]), max_words)


def clean(text: str, max_words: int) -> str:
    """One line without markup and addresses, of at most so many words; empty when there are no words in it."""
    for _ in range(3):  # templates in templates, entities in entities
        text = TEMPLATE.sub(" ", html.unescape(text))
    text = QUOTES.sub("", OUTSIDE_LINK.sub(r"\1", LINK.sub(r"\1", TAG.sub(" ", text))))
    line = " ".join(ADDRESS.sub(" ", text).split())
    return _cut(line, max_words) if WORDS.search(line) else ""


def _without_file_name(title: str) -> str:
    """A title without what file names add (prefix, suffix, number); empty when a camera gave it."""
    name = SUFFIX.sub("", FILE.sub("", title.strip()))
    name = NUMBERING.sub("", name).replace("_", " ").strip()
    return "" if CAMERA.match(name) else name


def _cut(line: str, max_words: int) -> str:
    """Whole sentences as far as they fit, or the first words."""
    words = line.split()
    if len(words) <= max_words:
        return line
    ends = [place for place in range(1, max_words + 1) if words[place - 1].endswith((".", "!", "?"))]
    return " ".join(words[: ends[-1] if ends else max_words]).rstrip(",;:")
