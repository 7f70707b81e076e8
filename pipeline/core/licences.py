"""Which licences a project accepts: names as SPDX spells them, in `collect.licences` of params.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable

PORTED = re.compile(r"-([A-Z]{2}|IGO)$", re.IGNORECASE)  # CC-BY-SA-3.0-DE: the same freedoms in words of other law


def unported(licence: str) -> str:
    """The licence that a ported one carries over: CC-BY-SA-3.0-DE -> CC-BY-SA-3.0."""
    return PORTED.sub("", licence) if licence[:3].upper() == "CC-" and licence.count("-") > 2 else licence


def accepted(licence: str, policy: Iterable[str]) -> bool:
    """Whether the allow-list has this licence, or the one that it is a port of."""
    return unported(licence).casefold() in {name.casefold() for name in policy} or licence in policy
