"""Who is meant by a name: the two authorities heard together, and nothing taken that is not the name itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from pipeline.core.errors import InputError, ServiceError
from pipeline.core.records import Request
from pipeline.taxonomy import gbif, inaturalist, pbdb
from pipeline.taxonomy.authorities import Finding, ask_gbif, ask_pbdb, describe, identity, similar
from pipeline.taxonomy.inaturalist import Observed
from pipeline.taxonomy.usage import Ask, Usage, same_name

WORD = r"[^\W\d_]+"
NAME = re.compile(rf"{WORD}(?:-{WORD})*(?: (?:{WORD}(?:-{WORD})*|[(]{WORD}[)]))*")
OPTION = {pbdb.WHO: "--pbdb", gbif.WHO: "--gbif"}


@dataclass(frozen=True)
class Resolved:
    """Who is meant by `name`; `said` is what each authority answered, `notes` what was made of it."""

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
    said: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Pair:
    """What both authorities say, and by which ids the user has already chosen."""

    name: str
    pbdb: Finding
    gbif: Finding
    chosen: frozenset[str] = frozenset()
    notes: tuple[str, ...] = field(default=())

    @property
    def both(self) -> tuple[Finding, Finding]:
        return self.pbdb, self.gbif


def resolve(name: str, ask: Ask, pbdb_key: int | None = None, gbif_key: int | None = None) -> Resolved:
    """Ask the Paleobiology Database and GBIF who `name` is; an id chooses among homonyms, or for an unknown name.

    Raises
    ------
    InputError
        When the name is unknown, misspelt or ambiguous: nothing similar or wider is ever taken for it.
    ServiceError
        When neither authority answers, or only one does and does not know the name.
    """
    name = _checked(name)
    chosen = {pbdb.WHO: pbdb_key, gbif.WHO: gbif_key}
    pair = _Pair(
        name,
        ask_pbdb(name, ask, pbdb_key),
        ask_gbif(name, ask, gbif_key),
        frozenset(who for who, key in chosen.items() if key is not None),
    )
    pair = _settled(_follow_synonym(pair, ask))
    if not any(finding.usages for finding in pair.both):
        _refuse(pair, ask)
    return _told(pair, ask)


def _checked(name: str) -> str:
    name = " ".join(name.split())
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name of a taxon; write it in full, without its author, such as 'Sinomacrops bondei'"
        )
    return name[0].upper() + name[1:]


def _follow_synonym(pair: _Pair, ask: Ask) -> _Pair:
    """Where only one authority knows the name, and as a synonym, the other is asked for the accepted one."""
    known = [finding for finding in pair.both if len(finding.usages) == 1]
    silent = [finding for finding in pair.both if not finding.usages and not finding.trouble]
    if len(known) != 1 or len(silent) != 1 or same_name(known[0].usages[0].accepted, pair.name):
        return pair
    accepted = known[0].usages[0].accepted
    if silent[0].who == pbdb.WHO:
        return replace(pair, pbdb=_only_accepted(ask_pbdb(accepted, ask)))
    return replace(pair, gbif=_only_accepted(ask_gbif(accepted, ask)))


def _only_accepted(finding: Finding) -> Finding:
    return replace(finding, usages=tuple(usage for usage in finding.usages if usage.is_accepted))


def _settled(pair: _Pair) -> _Pair:
    """At most one taxon of each authority, and the two not of different phyla; InputError when that takes a choice."""
    pair = replace(pair, gbif=_narrowed(pair.gbif, pair.pbdb, pair.chosen))
    pair = replace(pair, pbdb=_narrowed(pair.pbdb, pair.gbif, pair.chosen))
    if any(len(finding.usages) > 1 for finding in pair.both):
        _ambiguous(pair)
    if all(finding.usages for finding in pair.both) and _differ(pair.pbdb.usages[0], pair.gbif.usages[0]):
        return _by_choice(pair)
    return pair


def _narrowed(several: Finding, other: Finding, chosen: frozenset[str]) -> Finding:
    """Of homonyms the one that the other authority's taxon points to; several remain where none can be told."""
    left, n = several.usages, len(several.usages)
    if n < 2:
        return several
    if len(other.usages) == 1:
        left = _agreeing(left, other.usages[0])
        if not left and other.who in chosen:
            return replace(several, usages=(), near=several.usages[0], why="another taxon")
    if len({usage.path for usage in left}) == 1:  # the same place, so one name with several authors
        left = tuple(usage for usage in left if usage.is_accepted) or left
    why = f"one of {n} taxa of this name" if len(left) == 1 else ""
    return replace(several, usages=left or several.usages, why=why)


def _agreeing(usages: tuple[Usage, ...], model: Usage) -> tuple[Usage, ...]:
    """Those of the same phylum that share most of the classification."""
    left = [usage for usage in usages if not _differ(usage, model)]
    shared = [len({*model.path} & {*usage.path}) for usage in left]
    return tuple(usage for usage, n in zip(left, shared) if n == max(shared))


def _differ(one: Usage, other: Usage) -> bool:
    return bool(one.phylum and other.phylum) and one.phylum != other.phylum


def _by_choice(pair: _Pair) -> _Pair:
    """The same name in two phyla: the user's id decides which authority is heard."""
    if len(pair.chosen) == 2:
        return pair
    if not pair.chosen:
        _ambiguous(pair)
    other = pair.gbif if pbdb.WHO in pair.chosen else pair.pbdb
    note = f"{other.who} has another taxon of this name ({other.usages[0].phylum}); it was not used"
    silent = replace(other, usages=(), near=other.usages[0], why="another taxon")
    pair = replace(pair, notes=(*pair.notes, note))
    return replace(pair, gbif=silent) if other.who == gbif.WHO else replace(pair, pbdb=silent)


def _ambiguous(pair: _Pair) -> NoReturn:
    listed = [
        f"{describe(finding.who, usage)}, {' > '.join(usage.path) or 'unclassified'}: {OPTION[finding.who]} {usage.key}"
        for finding in pair.both
        for usage in finding.usages
    ]
    raise InputError(f"{pair.name!r} is the name of several taxa; say which:\n  " + "\n  ".join(listed))


def _refuse(pair: _Pair, ask: Ask) -> NoReturn:
    """Nobody knows the name: say what is near it, and whether that is certain."""
    troubles = [finding.trouble for finding in pair.both if finding.trouble]
    if len(troubles) == 2:
        raise ServiceError(f"no authority could be asked for {pair.name!r}: {'; '.join(troubles)}; try again later")
    said = "; ".join(finding.line for finding in pair.both)
    if troubles:
        raise ServiceError(f"{pair.name!r} is not known as far as could be asked ({said}); try again later")
    near = _spelling(pair, ask)
    hint = f"did you mean {near.name!r} ({near.rank})? Say that" if near else "check the spelling"
    choice = "" if near is None else f", or keep your name with {_option(pair, near)}"
    raise InputError(f"no authority knows {pair.name!r} ({said}); {hint}{choice}")


def _spelling(pair: _Pair, ask: Ask) -> Usage | None:
    """The name that was probably meant; what merely contains it is no spelling of it."""
    offered = [f.near for f in pair.both if f.near and (f.why in gbif.SPELLINGS or pbdb.MISSPELT in f.why)]
    return offered[0] if offered else similar(pair.name, ask)


def _option(pair: _Pair, near: Usage) -> str:
    who = gbif.WHO if near is pair.gbif.near else pbdb.WHO
    return f"{OPTION[who]} {near.accepted_key}"


def _told(pair: _Pair, ask: Ask) -> Resolved:
    """What the authorities know of the taxon that was found; the Paleobiology Database leads where it knows it."""
    found = _first(pair.pbdb), _first(pair.gbif)
    said, notes = [finding.line for finding in pair.both], (*pair.notes, *_notes(pair, *found))
    ours, theirs = _accepted(*found, ask, said)
    lead = ours or theirs
    seen = _try(
        ask,
        inaturalist.named(lead.accepted),
        lambda value: inaturalist.observed(value, lead.accepted, lead.accepted_rank),
        None,
        said,
    )
    clade, synonyms = _clade(ours, theirs, ask, said), _synonyms(ours, theirs, lead.accepted, ask, said)
    return Resolved(
        pair.name,
        lead.accepted,
        lead.accepted_rank or lead.rank,
        clade,
        ours.interval_ma if ours else None,
        synonyms,
        pbdb=ours.accepted_key if ours else None,
        gbif=theirs.accepted_key if theirs else None,
        observed=seen,
        extant=_extant(ours, seen),
        said=tuple(said),
        notes=notes,
    )


def _first(finding: Finding) -> Usage | None:
    return finding.usages[0] if finding.usages else None


def _accepted(ours: Usage | None, theirs: Usage | None, ask: Ask, said: list[str]) -> tuple[Usage | None, Usage | None]:
    """The records of the accepted taxa: age, place and id of a synonym are not theirs."""
    if ours and not ours.is_accepted:
        ours = _try(ask, pbdb.taxon(ours.accepted_key), _only, replace(ours, interval_ma=None, extant=None), said)
        if ours.is_accepted:
            said.insert(1, Finding(pbdb.WHO, ours.name, (ours,)).line)
    if theirs and not theirs.is_accepted:
        theirs = _try(ask, gbif.taxon(theirs.accepted_key), gbif.usage, theirs, said)
    return ours, theirs


def _notes(pair: _Pair, ours: Usage | None, theirs: Usage | None) -> list[str]:
    """What was used instead of the name, and where the authorities do not agree."""
    lead, who = (ours, pbdb.WHO) if ours else (theirs, gbif.WHO)
    notes = []
    if not same_name(lead.accepted, pair.name):
        why = lead.reason if same_name(lead.name, pair.name) else f"chosen by its id {identity(who, lead.key)}"
        wider = ", which is wider" if lead.is_narrower_than_accepted else ""
        notes.append(
            f"{pair.name} is not an accepted name in {who} ({why or 'renamed'}); "
            f"used {lead.accepted} ({lead.accepted_rank}){wider}"
        )
    if ours and theirs and not same_name(ours.accepted, theirs.accepted):
        notes.append(f"{gbif.WHO} accepts it as {theirs.accepted} ({theirs.accepted_rank})")
    other = pair.gbif if ours else pair.pbdb
    if not (ours and theirs):
        notes.append(f"known to {who} only" + (f"; {other.who} could not be asked" if other.trouble else ""))
    return notes


def _clade(ours: Usage | None, theirs: Usage | None, ask: Ask, said: list[str]) -> tuple[str, ...]:
    """The path of the Paleobiology Database, which has every clade, or the Linnean ladder of either."""
    path = ()
    if ours:
        key = ours.accepted_key
        path = _try(ask, pbdb.parents(key), lambda value: pbdb.path(value, key), (), said)
    return path or (theirs or ours).path


def _synonyms(ours: Usage | None, theirs: Usage | None, accepted: str, ask: Ask, said: list[str]) -> tuple[str, ...]:
    found: set[str] = set()
    if ours:
        found |= {*_try(ask, pbdb.synonyms(ours.accepted_key), lambda value: pbdb.names(value, accepted), (), said)}
    if theirs:
        found |= {*_try(ask, gbif.synonyms(theirs.accepted_key), lambda value: gbif.names(value, accepted), (), said)}
    return tuple(sorted(found))


def _extant(ours: Usage | None, seen: Observed | None) -> bool | None:
    if ours and ours.extant is not None:
        return ours.extant
    return None if seen is None else not seen.extinct


def _only(value: Any) -> Usage:
    found = pbdb.usages(value)
    if not found:
        raise ServiceError(f"{pbdb.WHO} has no record of the accepted name")
    return found[0]


def _try(ask: Ask, request: Request, read: Callable[[Any], Any], instead: Any, said: list[str]) -> Any:
    """What the answer says, or `instead` and a line about it: the taxon is known, this is more about it."""
    try:
        return read(ask(request).value)
    except ServiceError as error:
        said.append(f"left out: {error}")
        return instead
