"""Which licences a project accepts: names as SPDX spells them, in `collect.licences` of params.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Those of SPDX's names that Hugging Face has too, in its spelling; it calls every other one `other`.
HUB_LICENCES = {
    *(
        "apache-2.0",
        "mit",
        "cc0-1.0",
        "cc-by-2.0",
        "cc-by-2.5",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
    ),
    *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
    *("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
}
PORTED = re.compile(r"-([A-Z]{2}|IGO)$", re.IGNORECASE)  # CC-BY-SA-3.0-DE: the same freedoms in words of other law


def unported(licence: str) -> str:
    """The licence that a ported one carries over: CC-BY-SA-3.0-DE -> CC-BY-SA-3.0."""
    return PORTED.sub("", licence) if licence[:3].upper() == "CC-" and licence.count("-") > 2 else licence


def accepted(licence: str, policy: Iterable[str]) -> bool:
    """Whether the allow-list has this licence, or the one that it is a port of."""
    return unported(licence).casefold() in {name.casefold() for name in policy} or licence in policy


def hub_licences(licences: Iterable[str]) -> list[str]:
    """The identifiers that Hugging Face has for these, sorted and each once; `other` for what it has none for."""
    names = {licence.casefold() for licence in licences}
    return sorted({name if name in HUB_LICENCES else "other" for name in names})
