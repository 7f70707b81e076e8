"""Looking up a name at each authority: its taxa, a near name that it offers instead, or why there was no response."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from pipeline.core.errors import HttpError, InputError, ServiceError
from pipeline.taxonomy import gbif, inaturalist, pbdb
from pipeline.taxonomy.usage import Fetch, Usage, same_name

NOT_FOUND = 404
SHORT = {pbdb.NAME: "PBDB", gbif.NAME: "GBIF"}
HOSTS = {**pbdb.HOSTS, **gbif.HOSTS, **inaturalist.HOSTS}


@dataclass(frozen=True)
class Finding:
    """The result of looking up `name` at one authority.

    `usages`: the taxa that have it (several: homonyms). `near`: a name that is offered instead, and the `reason`.
    `error`: the sentence of a failed request or an unreadable response.
    """

    authority: str
    name: str
    usages: tuple[Usage, ...] = ()
    near: Usage | None = None
    reason: str = ""
    error: str = ""

    @property
    def line(self) -> str:
        """For people: one line that begins with the authority."""
        short = SHORT[self.authority]
        if self.error:
            return f"{short}: no usable response ({self.error})"
        if self.usages:
            taxa = "; ".join(describe(self.authority, usage) for usage in self.usages)
            return f"{short}: {taxa}" + (f", {self.reason}" if self.reason else "")
        offered = f"; the nearest it has is {self.near.name}, {self.near.rank} ({self.reason})" if self.near else ""
        return f"{short}: has no {self.name!r}{offered}"


def describe(authority: str, usage: Usage) -> str:
    """Name, rank, age, id and certainty: "Sinomacrops bondei, species, 165.3–154.8 Ma, txn:438190"."""
    parts = [usage.name, usage.rank or "no rank"]
    if not usage.is_accepted:
        parts.append(f"{usage.reason or 'now'} {usage.accepted}")
    if usage.interval_ma:
        parts.append("–".join(f"{age:g}" for age in usage.interval_ma) + " Ma")
    parts.append(identity(authority, usage.key))
    return ", ".join(parts) + (f" ({usage.match})" if usage.match else "")


def identity(authority: str, key: int) -> str:
    return f"txn:{key}" if authority == pbdb.NAME else f"key {key}"


def find_in_pbdb(name: str, fetch: Fetch, key: int | None = None) -> Finding:
    """What the Paleobiology Database has under `name`, or under the id `key` if one is given."""
    try:
        if key is None:
            return _pbdb_finding(name, pbdb.usages(fetch(pbdb.name_request(name)).value))
        found = pbdb.usages(fetch(pbdb.taxon_request(key)).value)
        if not found:
            raise HttpError(f"{pbdb.NAME} has no taxon {key}", NOT_FOUND)
        return Finding(pbdb.NAME, name, found[:1])
    except HttpError as error:
        return _not_found(pbdb.NAME, name, key, error)
    except ServiceError as error:
        return Finding(pbdb.NAME, name, error=str(error))


def find_in_gbif(name: str, fetch: Fetch, key: int | None = None) -> Finding:
    """What GBIF has under `name`, or under the id `key` if one is given."""
    try:
        if key is not None:
            return Finding(gbif.NAME, name, (gbif.read_taxon(fetch(gbif.taxon_request(key)).value),))
        match = gbif.read_match(fetch(gbif.name_request(name)).value, name)
        if match.exact:
            return Finding(gbif.NAME, name, match.exact)
        return Finding(gbif.NAME, name, near=match.nearest, reason=match.kind)
    except HttpError as error:
        return _not_found(gbif.NAME, name, key, error)
    except ServiceError as error:
        return Finding(gbif.NAME, name, error=str(error))


def similar_name(name: str, fetch: Fetch) -> Usage | None:
    """The name of the Paleobiology Database that is spelt most like `name`; None when there is none or no response."""
    try:
        known = {usage.name: usage for usage in pbdb.usages(fetch(pbdb.similar_names_request(name)).value)}
    except ServiceError:  # a hint only: its absence changes nothing
        return None
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return known[near[0]] if near else None


def _pbdb_finding(name: str, found: tuple[Usage, ...]) -> Finding:
    """Misspellings are offered, not taken: another taxon may have that very name."""
    exact = [usage for usage in found if same_name(usage.name, name)]
    spelt = [usage for usage in exact if pbdb.MISSPELT not in usage.reason]
    taxa = {usage.accepted_key: usage for usage in reversed(spelt)}
    if taxa or not exact:
        return Finding(pbdb.NAME, name, tuple(reversed(taxa.values())))
    wrong = exact[0]
    right = Usage(
        wrong.accepted_key, wrong.accepted, wrong.accepted_rank, wrong.accepted_key, wrong.accepted, wrong.accepted_rank
    )
    return Finding(pbdb.NAME, name, near=right, reason=f"{name} is a {wrong.reason} it")


def _not_found(authority: str, name: str, key: int | None, error: HttpError) -> Finding:
    """404 means that there is no such taxon; anything else, that there was no response."""
    if error.status != NOT_FOUND:
        return Finding(authority, name, error=str(error))
    if key is not None:
        raise InputError(f"{authority} has no taxon {identity(authority, key)}; look it up on its website") from None
    return Finding(authority, name)
