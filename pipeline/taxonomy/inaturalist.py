"""iNaturalist: does it have the taxon, and does the taxon live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.core.records import Request
from pipeline.taxonomy.answers import identifier, listed, text
from pipeline.taxonomy.usage import same_name

WHO = "iNaturalist"


@dataclass(frozen=True)
class Observed:
    """A taxon of iNaturalist; `extinct` as it says."""

    key: int
    extinct: bool


def named(name: str) -> Request:
    return Request("https://api.inaturalist.org/v1/taxa", (("q", name), ("per_page", "30")))


def observed(value: Any, name: str, rank: str) -> Observed | None:
    """The taxon that has exactly that name, the one of that rank where several do; None when there is none."""
    found = [item for item in listed(value, WHO, "results") if same_name(text(item, WHO, "name"), name)]
    found.sort(key=lambda item: text(item, WHO, "rank") != rank)
    key = identifier(found[0], WHO, "id") if found else None
    return None if key is None else Observed(key, found[0].get("extinct") is True)
