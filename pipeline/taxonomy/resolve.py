"""Name resolution: which taxon a name means by two authorities; nothing is taken that is not the name itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

from pipeline.core.errors import InputError, ServiceError
from pipeline.core.records import Request
from pipeline.taxonomy import gbif, inaturalist, pbdb
from pipeline.taxonomy.authorities import Finding, describe, find_in_gbif, find_in_pbdb, identity, similar_name
from pipeline.taxonomy.inaturalist import Observed
from pipeline.taxonomy.usage import Fetch, Usage, same_name

T = TypeVar("T")
WORD = r"[^\W\d_]+"
NAME = re.compile(rf"{WORD}(?:-{WORD})*(?: (?:{WORD}(?:-{WORD})*|[(]{WORD}[)]))*")
OPTION = {pbdb.NAME: "--pbdb", gbif.NAME: "--gbif"}


@dataclass(frozen=True)
class Resolved:
    """The taxon that `name` means; `findings` is a line per authority, `notes` what was concluded from them."""

    name: str
    accepted: str
    rank: str
    clade: tuple[str, ...] = ()  # from the widest to the narrowest, without the taxon itself
    interval_ma: tuple[float, float] | None = None
    synonyms: tuple[str, ...] = ()
    pbdb: int | None = None
    gbif: int | None = None
    observed: Observed | None = None
    extant: bool | None = None
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Findings:
    """What both authorities have, and by which ids the user has already chosen."""

    name: str
    pbdb: Finding
    gbif: Finding
    chosen: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def both(self) -> tuple[Finding, Finding]:
        return self.pbdb, self.gbif


def resolve(name: str, fetch: Fetch, pbdb_key: int | None = None, gbif_key: int | None = None) -> Resolved:
    """Look `name` up at the Paleobiology Database and GBIF; an id chooses among homonyms, or for an unknown name.

    Raises
    ------
    InputError
        When the name is unknown, misspelt or ambiguous: nothing similar or wider is ever taken for it.
    ServiceError
        When neither authority responds, or only one does and does not have the name.
    """
    name = _checked(name)
    chosen = {pbdb.NAME: pbdb_key, gbif.NAME: gbif_key}
    findings = _Findings(
        name,
        find_in_pbdb(name, fetch, pbdb_key),
        find_in_gbif(name, fetch, gbif_key),
        frozenset(authority for authority, key in chosen.items() if key is not None),
    )
    findings = _disambiguated(_with_accepted_name(findings, fetch))
    if not any(finding.usages for finding in findings.both):
        _raise_unknown(findings, fetch)
    return _resolved(findings, fetch)


def _checked(name: str) -> str:
    name = " ".join(name.split())
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name of a taxon; write it in full, without its author, such as 'Sinomacrops bondei'"
        )
    return name[0].upper() + name[1:]


def _with_accepted_name(findings: _Findings, fetch: Fetch) -> _Findings:
    """Where only one authority has the name, and as a synonym, the accepted one is looked up at the other."""
    known = [finding for finding in findings.both if len(finding.usages) == 1]
    absent = [finding for finding in findings.both if not finding.usages and not finding.error]
    if len(known) != 1 or len(absent) != 1 or same_name(known[0].usages[0].accepted, findings.name):
        return findings
    accepted = known[0].usages[0].accepted
    if absent[0].authority == pbdb.NAME:
        return replace(findings, pbdb=_only_accepted(find_in_pbdb(accepted, fetch)))
    return replace(findings, gbif=_only_accepted(find_in_gbif(accepted, fetch)))


def _only_accepted(finding: Finding) -> Finding:
    return replace(finding, usages=tuple(usage for usage in finding.usages if usage.is_accepted))


def _disambiguated(findings: _Findings) -> _Findings:
    """At most one taxon of each authority, and the two not of different phyla; InputError when that takes a choice."""
    findings = replace(findings, gbif=_narrowed(findings.gbif, findings.pbdb, findings.chosen))
    findings = replace(findings, pbdb=_narrowed(findings.pbdb, findings.gbif, findings.chosen))
    if any(len(finding.usages) > 1 for finding in findings.both):
        _raise_ambiguous(findings)
    if all(finding.usages for finding in findings.both) and _differ(findings.pbdb.usages[0], findings.gbif.usages[0]):
        return _by_choice(findings)
    return findings


def _narrowed(several: Finding, other: Finding, chosen: frozenset[str]) -> Finding:
    """Of homonyms the one that fits the other authority's taxon; several remain where that decides nothing."""
    left, n = several.usages, len(several.usages)
    if n < 2:
        return several
    if len(other.usages) == 1:
        left = _agreeing(left, other.usages[0])
        if not left and other.authority in chosen:
            return replace(several, usages=(), near=several.usages[0], reason="another taxon")
    if len({usage.path for usage in left}) == 1:  # the same place, so one name with several authors
        left = tuple(usage for usage in left if usage.is_accepted) or left
    reason = f"one of {n} taxa of this name" if len(left) == 1 else ""
    return replace(several, usages=left or several.usages, reason=reason)


def _agreeing(usages: tuple[Usage, ...], model: Usage) -> tuple[Usage, ...]:
    """Those of the same phylum that share most of the classification."""
    left = [usage for usage in usages if not _differ(usage, model)]
    shared = [len({*model.path} & {*usage.path}) for usage in left]
    return tuple(usage for usage, n in zip(left, shared) if n == max(shared))


def _differ(one: Usage, other: Usage) -> bool:
    return bool(one.phylum and other.phylum) and one.phylum != other.phylum


def _by_choice(findings: _Findings) -> _Findings:
    """The same name in two phyla: the user's id decides which authority is used."""
    if len(findings.chosen) == 2:
        return findings
    if not findings.chosen:
        _raise_ambiguous(findings)
    other = findings.gbif if pbdb.NAME in findings.chosen else findings.pbdb
    note = f"{other.authority} has another taxon of this name ({other.usages[0].phylum}); it was not used"
    unused = replace(other, usages=(), near=other.usages[0], reason="another taxon")
    findings = replace(findings, notes=(*findings.notes, note))
    is_gbif = other.authority == gbif.NAME
    return replace(findings, gbif=unused) if is_gbif else replace(findings, pbdb=unused)


def _raise_ambiguous(findings: _Findings) -> NoReturn:
    lines = [
        f"{describe(finding.authority, usage)}, {' > '.join(usage.path) or 'unclassified'}: "
        f"{OPTION[finding.authority]} {usage.key}"
        for finding in findings.both
        for usage in finding.usages
    ]
    raise InputError(f"{findings.name!r} is the name of several taxa; choose one:\n  " + "\n  ".join(lines))


def _raise_unknown(findings: _Findings, fetch: Fetch) -> NoReturn:
    """Neither authority has the name: offer what is near it, and state whether that is certain."""
    name = findings.name
    errors = [finding.error for finding in findings.both if finding.error]
    if len(errors) == 2:
        mend = "check the network connection, or try again later"
        raise ServiceError(f"no authority gave a usable response for {name!r}: {'; '.join(errors)}; {mend}")
    lines = "; ".join(finding.line for finding in findings.both)
    if errors:
        raise ServiceError(f"{name!r} was not found where there was a response ({lines}); try again later")
    offered = [f.near for f in findings.both if f.near and (f.reason in gbif.SPELLINGS or pbdb.MISSPELT in f.reason)]
    near = offered[0] if offered else similar_name(name, fetch)  # what merely contains the name is no spelling of it
    if near is None:
        raise InputError(f"no authority has {name!r} ({lines}); check the spelling")
    authority = gbif.NAME if near is findings.gbif.near else pbdb.NAME
    raise InputError(
        f"no authority has {name!r} ({lines}); did you mean {near.name!r} ({near.rank})? Write that, or keep your name "
        f"with {OPTION[authority]} {near.accepted_key}"
    )


def _resolved(findings: _Findings, fetch: Fetch) -> Resolved:
    """The taxon that was found with its details; the Paleobiology Database leads where it has it."""
    in_pbdb, in_gbif = (next(iter(finding.usages), None) for finding in findings.both)
    notes = (*findings.notes, *_notes(findings, in_pbdb, in_gbif))
    details = _Details(fetch, [finding.line for finding in findings.both])
    in_pbdb, in_gbif = details.accepted(in_pbdb, in_gbif)
    lead = _lead(in_pbdb, in_gbif)
    observed = details.observed(lead)
    clade = details.clade(in_pbdb) if in_pbdb else ()
    extant = in_pbdb.extant if in_pbdb else None
    if extant is None and observed is not None:
        extant = not observed.extinct
    return Resolved(
        findings.name,
        lead.accepted,
        lead.accepted_rank or lead.rank,
        clade or (in_gbif or lead).path,
        in_pbdb.interval_ma if in_pbdb else None,
        details.synonyms(in_pbdb, in_gbif, lead.accepted),
        pbdb=in_pbdb.accepted_key if in_pbdb else None,
        gbif=in_gbif.accepted_key if in_gbif else None,
        observed=observed,
        extant=extant,
        findings=tuple(details.lines),
        notes=notes,
    )


def _lead(in_pbdb: Usage | None, in_gbif: Usage | None) -> Usage:
    lead = in_pbdb or in_gbif
    assert lead is not None  # one of the authorities has the name
    return lead


def _notes(findings: _Findings, in_pbdb: Usage | None, in_gbif: Usage | None) -> list[str]:
    """What was used instead of the name, and where the authorities do not agree."""
    lead, authority = _lead(in_pbdb, in_gbif), (pbdb.NAME if in_pbdb else gbif.NAME)
    notes = []
    if not same_name(lead.accepted, findings.name):
        by_id = f"chosen by its id {identity(authority, lead.key)}"
        reason = lead.reason if same_name(lead.name, findings.name) else by_id
        wider = ", which is wider" if lead.is_narrower_than_accepted else ""
        notes.append(
            f"{findings.name} is not an accepted name in {authority} ({reason or 'renamed'}); "
            f"used {lead.accepted} ({lead.accepted_rank}){wider}"
        )
    if in_pbdb and in_gbif and not same_name(in_pbdb.accepted, in_gbif.accepted):
        notes.append(f"{gbif.NAME} accepts it as {in_gbif.accepted} ({in_gbif.accepted_rank})")
    if not (in_pbdb and in_gbif):
        other = findings.gbif if in_pbdb else findings.pbdb
        failed = f"; no usable response from {other.authority}" if other.error else ""
        notes.append(f"known to {authority} only{failed}")
    return notes


class _Details:
    """Further requests about a taxon that was found; what fails is left out, with a line about it."""

    def __init__(self, fetch: Fetch, lines: list[str]) -> None:
        self._fetch, self.lines = fetch, lines

    def accepted(self, in_pbdb: Usage | None, in_gbif: Usage | None) -> tuple[Usage | None, Usage | None]:
        """The records of the accepted taxa: age, place and id of a synonym are not theirs."""
        if in_pbdb and not in_pbdb.is_accepted:
            unknown = replace(in_pbdb, interval_ma=None, extant=None)
            in_pbdb = self._optional(pbdb.taxon_request(in_pbdb.accepted_key), _only_record, unknown)
            if in_pbdb.is_accepted:
                self.lines.insert(1, Finding(pbdb.NAME, in_pbdb.name, (in_pbdb,)).line)
        if in_gbif and not in_gbif.is_accepted:
            in_gbif = self._optional(gbif.taxon_request(in_gbif.accepted_key), gbif.read_taxon, in_gbif)
        return in_pbdb, in_gbif

    def observed(self, lead: Usage) -> Observed | None:
        """The taxon at iNaturalist."""

        def read(value: Any) -> Observed | None:
            return inaturalist.read_taxon(value, lead.accepted, lead.accepted_rank)

        return self._optional(inaturalist.search_request(lead.accepted), read, None)

    def clade(self, in_pbdb: Usage) -> tuple[str, ...]:
        """The path of the Paleobiology Database, which has every clade."""
        key = in_pbdb.accepted_key
        return self._optional(pbdb.parents_request(key), lambda value: pbdb.classification(value, key), ())

    def synonyms(self, in_pbdb: Usage | None, in_gbif: Usage | None, accepted: str) -> tuple[str, ...]:
        found: set[str] = set()
        none: tuple[str, ...] = ()
        if in_pbdb:
            request = pbdb.synonyms_request(in_pbdb.accepted_key)
            found |= {*self._optional(request, lambda value: pbdb.synonym_names(value, accepted), none)}
        if in_gbif:
            request = gbif.synonyms_request(in_gbif.accepted_key)
            found |= {*self._optional(request, lambda value: gbif.synonym_names(value, accepted), none)}
        return tuple(sorted(found))

    def _optional(self, request: Request, read: Callable[[Any], T], default: T) -> T:
        try:
            return read(self._fetch(request).value)
        except ServiceError as error:
            self.lines.append(f"left out: {error}")
            return default


def _only_record(value: Any) -> Usage:
    found = pbdb.usages(value)
    if not found:
        raise ServiceError(f"{pbdb.NAME} has no record of the accepted name")
    return found[0]
