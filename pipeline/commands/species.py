"""`paleo species add | list | show`: the taxon of a species by the authorities, and its entry in params.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count
from typing import Any
from urllib.parse import urlsplit

from pipeline.commands import species_text
from pipeline.commands.listings import Listing
from pipeline.core.data_params import Collect, Species, Taxon
from pipeline.core.errors import InputError, ParamsError
from pipeline.core.param_types import SourceParams
from pipeline.core.params import MAX_KEY_LENGTH, Params
from pipeline.core.paths import Paths
from pipeline.core.records import ApiResponse, Report, Request
from pipeline.io.files.atomic_write import CARD, read_card, write_text
from pipeline.io.terminal.progress_bars import Board
from pipeline.io.web.client import WebClient
from pipeline.taxonomy import authorities, gbif, pbdb, suggest
from pipeline.taxonomy.entry import indent_of, render
from pipeline.taxonomy.resolve import Resolved, resolve
from pipeline.taxonomy.usage import Fetch, same_name

COLUMNS = ("key", "name", "accepted", "rank", "age in Ma", "sources", "pictures")


def add(
    params: Params,
    paths: Paths,
    name: str,
    key: str = "",
    class_noun: str = "",
    pbdb_key: int | None = None,
    gbif_key: int | None = None,
    dry_run: bool = False,
) -> Report:
    """Look `name` up at the authorities and write its entry into params.yaml, whose other bytes stay as they are.

    Raises
    ------
    InputError
        When the name is unknown, misspelt or ambiguous, or there already.
    ServiceError
        When the authorities do not respond.
    ParamsError
        When the entry cannot be put into params.yaml as that is written, or params.yaml has no contact address.
    """
    if not (key or dry_run) and (exists := _same_name(params, name)):
        raise InputError(exists)
    if not params.collect.contact.strip():  # once, where every authority would be skipped for it
        raise ParamsError(
            "collect.contact in params.yaml is empty; the authorities require a contact address: write an "
            "e-mail or web address there"
        )
    with WebClient(_with_hosts(params.collect), paths.work / "http") as web, Board() as board:
        taxon = resolve(name, _with_progress(web.fetch, name, board), pbdb_key, gbif_key)
    exists = "" if key else _same_taxon_or_key(params, taxon)
    if exists and not dry_run:
        raise InputError(exists)
    entry, text = _inserted(paths, key or _free_key(params, taxon), taxon, class_noun)
    lines = (*taxon.findings, *taxon.notes, entry.rstrip("\n"))
    if dry_run:
        return Report("species", (*lines, *filter(None, [exists]), "dry run: nothing was written"))
    write_text(paths.params, text)
    return Report("species", (*lines, "added to params.yaml: check its sources there, then `paleo run`"))


def table(params: Params, paths: Paths) -> Listing:
    """Every species of params.yaml on one line."""
    rows = [COLUMNS, *(_row(paths.of(key), species) for key, species in params.species.items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
    data = [_as_data(paths.of(key), species) for key, species in params.species.items()]
    return Listing("species", (*lines, "", _policy(params)), data=data)


def show(params: Params, paths: Paths) -> Listing:
    """One species: its taxon, its sources, and what the last collection found."""
    species = params.species[paths.species]
    days = species.refresh_days or params.collect.refresh_days
    facts = (
        ("name", species.name),
        ("class noun", species.class_noun),
        *_facts(species),
        ("refresh", f"every {days} days"),
        *_collection(paths),
    )
    lines = (f"{label + ':':<14}{value}" for label, value in facts)
    sources = (f"  {_source(source)}" for source in species.sources)
    shown = (paths.species, *lines, "sources:", *sources, _policy(params))
    return Listing("species", shown, data=_as_data(paths, species) | {"refresh_days": days})


def _with_hosts(collect: Collect) -> Collect:
    """The params with the rate limits of the authorities, where params.yaml has none for their hosts."""
    return collect.model_copy(update={"hosts": {**authorities.HOSTS, **collect.hosts}})


def _with_progress(fetch: Fetch, name: str, board: Board) -> Fetch:
    """`fetch`, shown to people: it waits where a host allows one request a second."""
    requests = count(1)

    def shown(request: Request) -> ApiResponse:
        board.show(name, next(requests), None, f"requesting {urlsplit(request.url).hostname}")
        return fetch(request)

    return shown


def _same_name(params: Params, name: str) -> str:
    """The sentence when params.yaml has a species of this name; "" when it has none."""
    return next((_exists(name, key) for key, species in params.species.items() if same_name(species.name, name)), "")


def _same_taxon_or_key(params: Params, taxon: Resolved) -> str:
    """The sentence when params.yaml has the name, the taxon or the key already; "" when it has none of them."""
    if sentence := _same_name(params, taxon.name):
        return sentence
    for key, species in params.species.items():
        if species.taxon and _same_taxon(species.taxon, taxon):
            return _exists(taxon.name, key)
    key = suggest.key(taxon.name)
    if key not in params.species:
        return ""
    return (
        f"params.yaml has a species {key!r} already ({params.species[key].name}); give {taxon.name!r} another key, "
        f"such as --key {_free_key(params, taxon)}"
    )


def _exists(name: str, key: str) -> str:
    return (
        f"{name!r} is in params.yaml already, as {key!r} (`paleo species show {key}`); to add it once more, give it "
        f"a key of its own, such as --key {key}-web"
    )


def _free_key(params: Params, taxon: Resolved) -> str:
    """The genus, or else the whole name, or else that with a number."""
    genus, full = suggest.key(taxon.name), "-".join(map(suggest.key, taxon.name.split()))[: MAX_KEY_LENGTH - 4]
    keys = chain([genus, full], (f"{full}-{number}" for number in count(2)))
    return next(key for key in keys if key not in params.species)


def _same_taxon(known: Taxon, taxon: Resolved) -> bool:
    ids = ((known.pbdb, taxon.pbdb), (known.gbif, taxon.gbif))
    return any(one is not None and one == other for one, other in ids) or same_name(known.accepted, taxon.accepted)


def _inserted(paths: Paths, key: str, taxon: Resolved, class_noun: str) -> tuple[str, str]:
    """The entry and the whole new text."""
    text = species_text.read(paths.params)
    entry = render(key, taxon, class_noun, indent_of(text))
    return entry, species_text.with_entry(text, key, entry, taxon.name)


def _row(paths: Paths, species: Species) -> tuple[str, ...]:
    taxon = species.taxon
    columns = (taxon.accepted, taxon.rank, _age(taxon)) if taxon else ("-", "-", "-")
    return (paths.species, species.name, *columns, str(len(species.sources)), _pictures(paths))


def _as_data(paths: Paths, species: Species) -> dict[str, Any]:
    """A species for programs: its entry with the defaults, and the numbers of the last collection."""
    card = _card(paths)
    collected = {name: card.get(name) for name in ("n_kept", "n_candidates", "by_reason")} if card else None
    return {"key": paths.species, **species.model_dump(mode="json"), "collected": collected}


def _age(taxon: Taxon) -> str:
    return "–".join(f"{age:g}" for age in taxon.interval_ma) if taxon.interval_ma else "-"


def _pictures(paths: Paths) -> str:
    card = _card(paths)
    return f"{card.get('n_kept', '?')} kept of {card.get('n_candidates', '?')}" if card else "not collected"


def _card(paths: Paths) -> dict[str, Any]:
    """The card of the last collection; empty when there is none or it was not finished."""
    return read_card(paths.raw) if (paths.raw / CARD).is_file() else {}


def _facts(species: Species) -> Iterator[tuple[str, str]]:
    taxon = species.taxon
    if taxon is None:
        yield "taxon", f"not looked up; `paleo species add '{species.name}' --dry-run` looks it up"
        return
    yield "accepted", f"{taxon.accepted} ({taxon.rank})"
    yield "clade", " > ".join(taxon.clade) or "-"
    yield "age", f"{_age(taxon)} Ma" if taxon.interval_ma else "-"
    yield "synonyms", ", ".join(taxon.synonyms) or "-"
    yield "PBDB", pbdb.PAGE.format(taxon.pbdb) if taxon.pbdb else "-"
    yield "GBIF", gbif.PAGE.format(taxon.gbif) if taxon.gbif else "-"


def _source(source: SourceParams) -> str:
    settings = source.model_dump(exclude_none=True, exclude={"kind"}).items()
    return f"{source.kind}: " + ", ".join(f"{name} {value!r}" for name, value in settings)


def _collection(paths: Paths) -> Iterator[tuple[str, str]]:
    yield "collected", _pictures(paths)
    reasons = _card(paths).get("by_reason") or {}
    if reasons:
        yield "not kept", ", ".join(f"{n} {code}" for code, n in sorted(reasons.items()))


def _policy(params: Params) -> str:
    return f"licences accepted: {', '.join(params.collect.licences)}"
