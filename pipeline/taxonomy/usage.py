"""Name usages: a name as one authority has it, whatever shape the response came in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.core.records import ApiResponse, Request

Fetch = Callable[[Request], ApiResponse]
# from the narrowest to the widest; "unranked clade" and "informal" have no place among them
RANKS = (
    "subspecies",
    "species",
    "subgenus",
    "genus",
    "subtribe",
    "tribe",
    "subfamily",
    "family",
    "superfamily",
    "infraorder",
    "suborder",
    "order",
    "superorder",
    "infraclass",
    "subclass",
    "class",
    "superclass",
    "subphylum",
    "phylum",
    "superphylum",
    "subkingdom",
    "kingdom",
)


@dataclass(frozen=True)
class Usage:
    """One name, and the accepted name that it stands for.

    `path` is its classification from the widest, `interval_ma` the oldest and youngest bound of its appearances in
    million years before present, `extant` None where the authority does not state it.
    """

    key: int
    name: str
    rank: str
    accepted_key: int
    accepted: str
    accepted_rank: str
    reason: str = ""  # why `name` is not accepted, such as "nomen dubium"
    path: tuple[str, ...] = ()
    phylum: str = ""
    interval_ma: tuple[float, float] | None = None
    extant: bool | None = None
    match: str = ""  # how certain the match is, in the authority's own words

    @property
    def is_accepted(self) -> bool:
        return self.accepted_key == self.key and same_name(self.accepted, self.name)

    @property
    def is_narrower_than_accepted(self) -> bool:
        """Whether the accepted taxon is wider than the name."""
        ranks = (self.rank, self.accepted_rank)
        return all(rank in RANKS for rank in ranks) and RANKS.index(ranks[0]) < RANKS.index(ranks[1])


def same_name(one: str, other: str) -> bool:
    """Equal but for case, spacing and a subgenus in brackets: "Acila (Truncacila) princeps" is "Acila princeps"."""
    return _plain(one) == _plain(other)


def _plain(name: str) -> tuple[str, ...]:
    return tuple(word for word in name.casefold().split() if not word.startswith("("))
