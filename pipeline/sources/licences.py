"""Licence texts of sources -> SPDX names, such as CC-BY-SA-3.0-DE; empty when it has none.

A text gets a name only where it is exactly one licence and nothing else. So these have none on purpose:

* a Creative Commons licence without a version ("CC BY-NC-ND"): its versions differ, and a licence
  without an address cannot be credited. CC0 and the public domain mark have one version each and need none.
* "No restrictions", "no known copyright restrictions": an institution knows of none and vouches for nothing; that is
  neither a licence nor a dedication to the public domain.
* "All rights reserved", and whatever was never seen before.

"Public domain" without a licence is what Commons calls `pd`; it becomes the mark, PDM-1.0.
"""

from __future__ import annotations

import re
from functools import lru_cache

CC0, PUBLIC_DOMAIN = "CC0-1.0", "PDM-1.0"
VERSIONS = ("1.0", "2.0", "2.1", "2.5", "3.0", "4.0")
LAST_PORTED = "3.0"  # 4.0 is one text for all countries: what follows it is a language
TERMS = {  # in every order that occurs -> as SPDX has it
    "by": "BY",
    "by-sa": "BY-SA",
    "by-nd": "BY-ND",
    "by-nc": "BY-NC",
    "by-nc-sa": "BY-NC-SA",
    "by-sa-nc": "BY-NC-SA",
    "by-nc-nd": "BY-NC-ND",
    "by-nd-nc": "BY-NC-ND",
}
FREE_OF_RIGHTS = {
    "cc0": CC0,
    "cc-0": CC0,
    "cc0-1.0": CC0,
    "cc-0-1.0": CC0,
    "cc-zero": CC0,
    "cc-zero-1.0": CC0,
    "cc-zero-public-domain-dedication": CC0,
    "cc0-public-domain-dedication": CC0,
    "cc0-1.0-public-domain-dedication": CC0,
    "pd": PUBLIC_DOMAIN,
    "public-domain": PUBLIC_DOMAIN,
    "pdm": PUBLIC_DOMAIN,
    "pdm-1.0": PUBLIC_DOMAIN,
    "cc-pdm-1.0": PUBLIC_DOMAIN,
    "public-domain-mark": PUBLIC_DOMAIN,
    "public-domain-mark-1.0": PUBLIC_DOMAIN,
    "cc-public-domain-mark-1.0": PUBLIC_DOMAIN,
}
ADDRESS = re.compile(
    r"(?:https?:)?//(?:www\.)?creativecommons\.org/(?P<kind>licenses|publicdomain)/(?P<terms>[a-z0-9-]+)"
    r"(?:/(?P<version>\d\.\d))?(?:/(?P<place>[a-z]{2,3}))?(?:/(?:deed|legalcode)[a-z._-]*)?/?(?:[?#].*)?",
    re.IGNORECASE,
)
NAME = re.compile(
    r"(?:cc-)?(?P<terms>[a-z-]+?)-(?P<version>\d\.\d)(?:,\d\.\d)*(?:-(?P<place>[a-z]{2}|igo))?(?:-migrated[a-z-]*)?"
)
TWICE = re.compile(r"([^()]+?)\s*\(([^()]+)\)")  # Attribution 4.0 International (CC BY 4.0)
LONGEST = 300  # characters; a longer text is no name
LONG_WORDS = (  # the licences' full names, piece by piece
    (r"creative commons", "cc"),
    (r"attribution", "by"),
    (r"non[- ]?commercial", "nc"),
    (r"share[- ]?alike", "sa"),
    (r"no[- ]?deriv(?:ative)?s?(?: works)?", "nd"),
    (r"\b(?:international|unported|generic|universal|deed|(?:public )?licen[cs]e)\b", " "),
)


@lru_cache(4096)  # a long list repeats a few texts
def spdx(text: str) -> str:
    """The SPDX name of a licence given as a code, a name or an address; empty when it cannot be named exactly."""
    text = text.strip()
    if len(text) > LONGEST:
        return ""
    address = ADDRESS.fullmatch(text)
    if address:
        return _of_address(**{key: (value or "").lower() for key, value in address.groupdict().items()})
    twice = TWICE.fullmatch(text)
    if twice:
        name, again = spdx(twice[1]), spdx(twice[2])
        return name if name == again else ""
    return _of_name(_plain(text))


def first_named(*texts: str) -> str:
    """The name that the first of these gives that can be named; empty when none can."""
    return next(filter(None, map(spdx, texts)), "")


@lru_cache(4096)
def address_of(licence: str) -> str:
    """The licence's own page, by its SPDX name; empty for a licence that is not of Creative Commons."""
    if licence in (CC0, PUBLIC_DOMAIN):
        return f"https://creativecommons.org/publicdomain/{'zero' if licence == CC0 else 'mark'}/1.0/"
    named = NAME.fullmatch(licence.lower())
    if not named or not licence.startswith("CC-"):
        return ""
    place = f"{named['place']}/" if named["place"] else ""
    return f"https://creativecommons.org/licenses/{named['terms']}/{named['version']}/{place}"


def _of_address(kind: str, terms: str, version: str, place: str) -> str:
    if terms in ("zero", "cc0") and version in ("1.0", ""):
        return CC0
    if kind == "publicdomain":
        return PUBLIC_DOMAIN if terms == "mark" and version in ("1.0", "") else ""
    return _composed(terms, version, place)


def _of_name(name: str) -> str:
    found = NAME.fullmatch(name)
    return FREE_OF_RIGHTS.get(name) or (_composed(found["terms"], found["version"], found["place"]) if found else "")


def _composed(terms: str, version: str, place: str | None) -> str:
    if terms not in TERMS or version not in VERSIONS:
        return ""
    ported = f"-{place.upper()}" if place and version <= LAST_PORTED else ""
    return f"CC-{TERMS[terms]}-{version}{ported}"


def _plain(text: str) -> str:
    """`CC BY-SA 3.0 de`, `CC_BY_4_0`, `Creative Commons Attribution 4.0 International`: words joined by single hyphens.

    Only the comma of several versions at once (`cc-by-sa-3.0,2.5`) stays.
    """
    text = text.lower()
    for words, short in LONG_WORDS:
        text = re.sub(words, short, text)
    text = re.sub(r"\s*,\s*(?=\d\.\d)", ",", text)
    text = re.sub(r"[\s_()/-]+|,(?!\d)", "-", text)
    text = re.sub(r"-+", "-", text).strip("-")
    return re.sub(r"-(\d)-(\d)(?=-|$)", r"-\1.\2", text)
