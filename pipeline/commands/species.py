"""`paleo species add | list | show`: who a species is by the authorities, and its entry in params.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count
from urllib.parse import urlsplit

from pipeline.core import params as params_module
from pipeline.core.errors import InputError, ParamsError
from pipeline.core.params import Params, Species, Taxon
from pipeline.core.paths import Paths
from pipeline.core.records import Answer, Report, Request
from pipeline.io.files.atomic_write import CARD, read_card, write_text
from pipeline.io.terminal.progress_bars import Board
from pipeline.io.web.client import WebClient
from pipeline.taxonomy import gbif, pbdb, suggest
from pipeline.taxonomy.entry import indent_of, insert, render
from pipeline.taxonomy.resolve import Resolved, resolve
from pipeline.taxonomy.usage import Ask, same_name

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
    """Ask the authorities who `name` is and write its entry into params.yaml, whose other bytes stay as they are.

    Raises
    ------
    InputError
        When the name is unknown, misspelt or ambiguous, or there already.
    ServiceError
        When the authorities do not answer.
    ParamsError
        When the entry cannot be put into params.yaml as it is written, or nobody says who asks.
    """
    if not (key or dry_run):
        _refuse(_named(params, name))
    _demand_contact(params)
    with WebClient(params.collect, paths.work / "http") as web, Board() as board:
        taxon = resolve(name, _shown(web.ask, name, board), pbdb_key, gbif_key)
    there = "" if key else _there(params, taxon)
    if not dry_run:
        _refuse(there)
    entry, text = _placed(paths, key or _free_key(params, taxon), taxon, class_noun)
    told = (*taxon.said, *taxon.notes, entry.rstrip("\n"))
    if dry_run:
        return Report("species", (*told, *filter(None, [there]), "dry run: nothing was written"))
    write_text(paths.params, text)
    return Report("species", (*told, "added to params.yaml: look at its sources there, then `paleo run`"))


def table(params: Params, paths: Paths) -> Report:
    """Every species of params.yaml on one line."""
    rows = [COLUMNS, *(_row(paths.of(key), species) for key, species in params.species.items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
    return Report("species", (*lines, "", _policy(params)))


def show(params: Params, paths: Paths) -> Report:
    """All that is known of one species: who it is, where its pictures come from, and what the last look found."""
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
    return Report("species", (paths.species, *lines, "sources:", *sources, _policy(params)))


def _shown(ask: Ask, name: str, board: Board) -> Ask:
    """`ask`, seen by people: it waits where a host wants no more than one question a second."""
    questions = count(1)

    def asked(request: Request) -> Answer:
        board.show(name, next(questions), None, f"asking {urlsplit(request.url).hostname}")
        return ask(request)

    return asked


def _demand_contact(params: Params) -> None:
    """Said here, since every authority would say it once more."""
    if not params.collect.contact.strip():
        raise ParamsError(
            "collect.contact in params.yaml is empty; the authorities want to know who asks: write an "
            "e-mail or web address there"
        )


def _refuse(sentence: str) -> None:
    if sentence:
        raise InputError(sentence)


def _named(params: Params, name: str) -> str:
    """What to say when params.yaml has a species of this name; "" when it has none."""
    return next((_already(name, key) for key, species in params.species.items() if same_name(species.name, name)), "")


def _there(params: Params, taxon: Resolved) -> str:
    """What to say when the name, the taxon or the key is there already; "" when nothing is."""
    if sentence := _named(params, taxon.name):
        return sentence
    for key, species in params.species.items():
        if species.taxon and _same_taxon(species.taxon, taxon):
            return _already(taxon.name, key)
    key = suggest.key(taxon.name)
    if key not in params.species:
        return ""
    return (
        f"params.yaml has a species {key!r} already ({params.species[key].name}); give {taxon.name!r} another key, "
        f"such as --key {_free_key(params, taxon)}"
    )


def _already(name: str, key: str) -> str:
    return (
        f"{name!r} is in params.yaml already, as {key!r} (`paleo species show {key}`); to add it once more, give it "
        f"a key of its own, such as --key {key}-web"
    )


def _free_key(params: Params, taxon: Resolved) -> str:
    """The genus, or else the whole name, or else what nobody has yet."""
    genus, full = suggest.key(taxon.name), "-".join(map(suggest.key, taxon.name.split()))
    keys = chain([genus, full], (f"{full}-{number}" for number in count(2)))
    return next(key for key in keys if key not in params.species)


def _same_taxon(known: Taxon, taxon: Resolved) -> bool:
    ids = ((known.pbdb, taxon.pbdb), (known.gbif, taxon.gbif))
    return any(one is not None and one == other for one, other in ids) or same_name(known.accepted, taxon.accepted)


def _placed(paths: Paths, key: str, taxon: Resolved, class_noun: str) -> tuple[str, str]:
    """The entry and the whole new text; ParamsError unless it says the same as before, and this entry besides."""
    text = paths.params.read_bytes().decode("utf-8")
    before = params_module.parse(text, "params.yaml")
    if key in before.species:
        raise InputError(f"params.yaml has a species {key!r} already ({before.species[key].name}); choose another key")
    entry = render(key, taxon, class_noun, indent_of(text))
    merged = insert(text, entry)
    after = params_module.parse(merged, f"params.yaml with {key!r}")
    kept = {other: species for other, species in after.species.items() if other != key}
    if after.model_copy(update={"species": kept}) != before or after.species[key].name != taxon.name:
        raise ParamsError(f"the entry of {key!r} does not fit into params.yaml; add it by hand:\n{entry}")
    return entry, merged


def _row(paths: Paths, species: Species) -> tuple[str, ...]:
    taxon = species.taxon
    who = (taxon.accepted, taxon.rank, _age(taxon)) if taxon else ("-", "-", "-")
    return (paths.species, species.name, *who, str(len(species.sources)), _pictures(paths))


def _age(taxon: Taxon) -> str:
    return "–".join(f"{age:g}" for age in taxon.interval_ma) if taxon.interval_ma else "-"


def _pictures(paths: Paths) -> str:
    card = _card(paths)
    return f"{card.get('n_kept', '?')} kept of {card.get('n_candidates', '?')}" if card else "not collected"


def _card(paths: Paths) -> dict:
    """What the last collection wrote, or nothing when it did not happen or was not finished."""
    return read_card(paths.raw) if (paths.raw / CARD).is_file() else {}


def _facts(species: Species) -> Iterator[tuple[str, str]]:
    taxon = species.taxon
    if taxon is None:
        yield "taxon", f"not looked up; `paleo species add '{species.name}' --dry-run` says who that is"
        return
    yield "accepted", f"{taxon.accepted} ({taxon.rank})"
    yield "clade", " > ".join(taxon.clade) or "-"
    yield "age", f"{_age(taxon)} Ma" if taxon.interval_ma else "-"
    yield "synonyms", ", ".join(taxon.synonyms) or "-"
    yield "PBDB", pbdb.PAGE.format(taxon.pbdb) if taxon.pbdb else "-"
    yield "GBIF", gbif.PAGE.format(taxon.gbif) if taxon.gbif else "-"


def _source(source) -> str:
    settings = source.model_dump(exclude_none=True, exclude={"kind"}).items()
    return f"{source.kind}: " + ", ".join(f"{name} {value!r}" for name, value in settings)


def _collection(paths: Paths) -> Iterator[tuple[str, str]]:
    yield "collected", _pictures(paths)
    reasons = _card(paths).get("by_reason") or {}
    if reasons:
        yield "not kept", ", ".join(f"{n} {code}" for code, n in sorted(reasons.items()))


def _policy(params: Params) -> str:
    return f"licences accepted: {', '.join(params.collect.licences)}"
