"""Asking each authority for a name: what it knows, what it offers instead, or that it does not answer."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from pipeline.core.errors import HttpError, InputError, ServiceError
from pipeline.taxonomy import gbif, pbdb
from pipeline.taxonomy.usage import Ask, Usage, same_name

NOT_FOUND = 404
SHORT = {pbdb.WHO: "PBDB", gbif.WHO: "GBIF"}


@dataclass(frozen=True)
class Finding:
    """What one authority says of a name.

    `usages`: the taxa that have it (several: homonyms). `near`: a name that it offers instead, and `why`. `trouble`:
    the sentence of the error, when it did not answer as it should.
    """

    who: str
    asked: str
    usages: tuple[Usage, ...] = ()
    near: Usage | None = None
    why: str = ""
    trouble: str = ""

    @property
    def line(self) -> str:
        """For people: one line that begins with the authority."""
        short = SHORT[self.who]
        if self.trouble:
            return f"{short}: could not be asked ({self.trouble})"
        if self.usages:
            told = "; ".join(describe(self.who, usage) for usage in self.usages)
            return f"{short}: {told}" + (f", {self.why}" if self.why else "")
        offered = f"; the nearest it has is {self.near.name}, {self.near.rank} ({self.why})" if self.near else ""
        return f"{short}: has no {self.asked!r}{offered}"


def describe(who: str, usage: Usage) -> str:
    """Name, rank, age, id and certainty: "Sinomacrops bondei, species, 165.3–154.8 Ma, txn:438190"."""
    told = [usage.name, usage.rank or "no rank"]
    if not usage.is_accepted:
        told.append(f"{usage.reason or 'now'} {usage.accepted}")
    if usage.interval_ma:
        told.append("–".join(f"{age:g}" for age in usage.interval_ma) + " Ma")
    told.append(identity(who, usage.key))
    return ", ".join(told) + (f" ({usage.match})" if usage.match else "")


def identity(who: str, key: int) -> str:
    return f"txn:{key}" if who == pbdb.WHO else f"key {key}"


def ask_pbdb(name: str, ask: Ask, key: int | None = None) -> Finding:
    """What the Paleobiology Database says of `name`, or of the taxon `key` if one is given."""
    try:
        if key is not None:
            return Finding(pbdb.WHO, name, _chosen(pbdb.WHO, key, pbdb.usages(ask(pbdb.taxon(key)).value)))
        return _of_pbdb(name, pbdb.usages(ask(pbdb.named(name)).value))
    except HttpError as error:
        return _refused(pbdb.WHO, name, key, error)
    except ServiceError as error:
        return Finding(pbdb.WHO, name, trouble=str(error))


def ask_gbif(name: str, ask: Ask, key: int | None = None) -> Finding:
    """What GBIF says of `name`, or of the taxon `key` if one is given."""
    try:
        if key is not None:
            return Finding(gbif.WHO, name, (gbif.usage(ask(gbif.taxon(key)).value),))
        found = gbif.match(ask(gbif.named(name)).value, name)
        return _of_gbif(name, found)
    except HttpError as error:
        return _refused(gbif.WHO, name, key, error)
    except ServiceError as error:
        return Finding(gbif.WHO, name, trouble=str(error))


def similar(name: str, ask: Ask) -> Usage | None:
    """The name of the Paleobiology Database that is spelt most like `name`; None when none is, or none is told."""
    try:
        known = {usage.name: usage for usage in pbdb.usages(ask(pbdb.like(name)).value)}
    except ServiceError:  # a hint only: its absence changes nothing
        return None
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return known[near[0]] if near else None


def _of_pbdb(name: str, found: tuple[Usage, ...]) -> Finding:
    """Misspellings are offered, not taken: another taxon may have that very name."""
    exact = [usage for usage in found if same_name(usage.name, name)]
    spelt = [usage for usage in exact if pbdb.MISSPELT not in usage.reason]
    taxa = {usage.accepted_key: usage for usage in reversed(spelt)}
    if taxa or not exact:
        return Finding(pbdb.WHO, name, tuple(reversed(taxa.values())))
    wrong = exact[0]
    right = Usage(
        wrong.accepted_key, wrong.accepted, wrong.accepted_rank, wrong.accepted_key, wrong.accepted, wrong.accepted_rank
    )
    return Finding(pbdb.WHO, name, near=right, why=f"{name} is a {wrong.reason} it")


def _of_gbif(name: str, found: gbif.Match) -> Finding:
    if found.exact:
        return Finding(gbif.WHO, name, found.exact)
    return Finding(gbif.WHO, name, near=found.nearest, why=found.kind)


def _chosen(who: str, key: int, found: tuple[Usage, ...]) -> tuple[Usage, ...]:
    if not found:
        raise HttpError(f"{who} has no taxon {key}", NOT_FOUND)
    return found[:1]


def _refused(who: str, name: str, key: int | None, error: HttpError) -> Finding:
    """404 says that there is no such taxon; anything else, that the question was not answered."""
    if error.status != NOT_FOUND:
        return Finding(who, name, trouble=str(error))
    if key is not None:
        raise InputError(f"{who} has no taxon {identity(who, key)}; look it up on its website") from None
    return Finding(who, name)
