"""Reason codes: why a candidate is not in the data set, in the words of pages and messages.

Whoever drops pictures owns its codes: the licence policy, the decoder, every curation check, the reviews of people.
Pages and messages are given a `ReasonCodes` with all of them and have no code of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ReasonCode:
    """One code as tables store it, and how it is shown.

    `step` names in the funnel what is left after the pictures with this code are gone ("each picture once"); `meaning`
    is a sentence under the title; `remedy` continues the error "nothing is left", and may hold `{species}`, the key.
    Scores are shown with `score_digits` decimals, the lowest first unless `highest_first`.
    """

    code: str
    step: str
    title: str
    meaning: str = ""
    remedy: str = ""
    score_digits: int = 0
    highest_first: bool = False


@dataclass(frozen=True)
class ReasonCodes:
    """The codes of a whole curation by who gives them, in the order of the pipeline."""

    collection: tuple[ReasonCode, ...] = ()
    decoding: tuple[ReasonCode, ...] = ()
    checks: tuple[ReasonCode, ...] = ()
    people: tuple[ReasonCode, ...] = ()

    def __iter__(self) -> Iterator[ReasonCode]:
        yield from (*self.collection, *self.decoding, *self.checks, *self.people)

    def of(self, code: str) -> ReasonCode:
        """The entry of a code; one that nobody owns (an older table may hold it) is titled by its own words."""
        title = code.replace("_", " ").capitalize()
        unknown = ReasonCode(code, f"not dropped as {title.lower()}", title)
        return next((entry for entry in self if entry.code == code), unknown)


def steps(codes: tuple[ReasonCode, ...]) -> tuple[str, ...]:
    """The steps of the funnel that these codes make, each where its last code stands."""
    names = [entry.step for entry in codes]
    return tuple(name for place, name in enumerate(names) if name not in names[place + 1 :])
