"""iNaturalist: whether it has a taxon, and whether the taxon is extant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.core.data_params import Host
from pipeline.core.records import Request
from pipeline.taxonomy.response_fields import identifier, required_items, text
from pipeline.taxonomy.usage import same_name

NAME = "iNaturalist"
HOSTS = {"api.inaturalist.org": Host(connections=1, requests_per_second=1, requests_per_day=10_000)}


@dataclass(frozen=True)
class Observed:
    """A taxon of iNaturalist; `extinct` as it states."""

    key: int
    extinct: bool


def search_request(name: str) -> Request:
    return Request("https://api.inaturalist.org/v1/taxa", (("q", name), ("per_page", "30")))


def read_taxon(value: Any, name: str, rank: str) -> Observed | None:
    """Read a response to `search_request`: the taxon of exactly that name, where there are several that of the rank."""
    found = [item for item in required_items(value, NAME, "results") if same_name(text(item, NAME, "name"), name)]
    found.sort(key=lambda item: text(item, NAME, "rank") != rank)
    key = identifier(found[0], NAME, "id") if found else None
    return None if key is None else Observed(key, found[0].get("extinct") is True)
