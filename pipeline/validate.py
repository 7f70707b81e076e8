"""Stage `validate`: is what was collected as it should be, and the curated set fit to train on? Red stops the run.

Two layers of expectations, of every candidate and of the curated pictures. For the drift between versions the stage
keeps the statistics of the newest accepted one, and of the one before it, in a file that git versions: it is what the
next version is compared with, on any clone. A refused version leaves no statistics.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import GateError, InputError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Report
from pipeline.expectations import curated_suite as curated
from pipeline.expectations import drift
from pipeline.expectations import manifest_suite as collected
from pipeline.expectations.expectation import WARNS, Expectation
from pipeline.io import great_expectations
from pipeline.io.files import atomic_write, parquet, site_files
from pipeline.pages.validation import validation_page

NAMED = 5  # offenders that a message names
SHOWN = 24  # offenders that the page shows for one expectation


@dataclass(frozen=True)
class Checked:
    """A table of facts with one row per `index`, and its suite; `picture` finds what the page shows of an offender."""

    layer: str
    noun: str
    index: str
    facts: pd.DataFrame
    suite: tuple[Expectation, ...]
    picture: Callable[[str], Path | None]


def validate(params: Params, paths: Paths) -> Report:
    """Check one species; verdict and page are written whatever the outcome.

    Raises
    ------
    GateError
        When an expectation of severity `stop` failed: which ones, what was seen, and the offenders.
    InputError
        When a table is missing or of an earlier form, or the statistics of the earlier version cannot be read.
    """
    digest = atomic_write.read_card(paths.curated)["digest"]
    manifest, kept = _tables(paths)
    earlier = _earlier(paths.statistics, digest)

    tested = _tested(params, paths, manifest, kept, earlier)
    entries = [entry for checked in tested for entry in _judged(checked, params.validate_.severity)]
    verdict = _verdict(paths.species, digest, entries, tested, earlier)

    _write(paths, verdict, _page(params.species[paths.species].name, verdict, tested))
    if not verdict["success"]:
        raise GateError(_refusal(verdict, paths))
    seen = {"dataset_digest": digest, "statistics": drift.statistics(tested[1].facts)}
    atomic_write.write_json(paths.statistics, {**seen, "previous": earlier})
    return Report("validate", _lines(verdict), {"n_train": verdict["n_train"], "n_holdout": verdict["n_holdout"]})


def _tables(paths: Paths) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What was collected and what was curated of it."""
    manifest = _table(paths.raw / "manifest.parquet", collected.NEEDED, f"paleo collect {paths.species}")
    kept = _table(paths.curated / "metadata.parquet", curated.NEEDED, f"paleo curate {paths.species}")
    _demand_one_origin(manifest, kept, paths)
    return manifest, kept


def _table(path: Path, needed: tuple[str, ...], command: str) -> pd.DataFrame:
    table = parquet.read(path)
    lacking = sorted(set(needed) - set(table.columns))
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}, so an earlier version wrote it; run `{command}` again")
    return table.reset_index(drop=True)


def _demand_one_origin(manifest: pd.DataFrame, kept: pd.DataFrame, paths: Paths) -> None:
    """InputError when pictures were curated that this collection does not have."""
    foreign = sorted(set(kept["sha256"]) - set(manifest.loc[manifest["kept"].astype(bool), "sha256"]))
    if foreign:
        raise InputError(
            f"{paths.curated} has {len(foreign)} of {len(kept)} pictures that {paths.raw} does not keep (the first is "
            f"{foreign[0][:16]!r}): it was collected anew; run `paleo curate {paths.species}` again"
        )


def _earlier(path: Path, digest: str) -> dict[str, Any] | None:
    """Digest and statistics of the version before the one called `digest`; None when there was none.

    Run twice, the stage finds its own statistics, and goes on comparing with those before them.
    """
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        newest = {key: said[key] for key in ("dataset_digest", "statistics")}
        return said["previous"] if newest["dataset_digest"] == digest else newest
    except (ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{path} does not hold the statistics of a version ({why}); restore it from git "
            "(`git checkout -- FILE`), or delete it: then nothing is compared this time"
        ) from None


def _tested(
    params: Params, paths: Paths, manifest: pd.DataFrame, kept: pd.DataFrame, earlier: dict[str, Any] | None
) -> tuple[Checked, ...]:
    """Candidates, curated pictures, their authors, and in which quantities they differ from the version before."""
    candidates = collected.facts(manifest, great_expectations.sizes(paths.raw, "images"), params.collect.licences)
    measured = great_expectations.measure(paths.curated, list(kept["file_name"]), f"validate {paths.species}")
    pictures = curated.facts(kept, measured, params)
    moved = drift.compared(pictures, earlier["statistics"] if earlier else {})
    sha256 = dict(zip(candidates["candidate"], manifest["sha256"]))  # curation made thumbnails, where that was safe
    authors = curated.authors(kept)
    first = dict(zip(authors["author"], authors["file_name"]))
    about_pictures = curated.suite(params, params.species[paths.species].name)
    return (
        Checked(
            "manifest",
            "candidates",
            "candidate",
            candidates,
            collected.suite(params),
            lambda name: paths.curation / "thumbs" / f"{sha256[name]}.webp",
        ),
        Checked("curated", "pictures", "file_name", pictures, about_pictures, lambda name: paths.curated / name),
        Checked(
            "curated",
            "authors",
            "author",
            authors,
            curated.author_suite(params),
            lambda name: paths.curated / first[name],
        ),
        Checked("curated", "quantities", "quantity", moved, curated.drift_suite(params), lambda name: None),
    )


def _judged(checked: Checked, severity: Mapping[str, str]) -> list[dict[str, Any]]:
    """The entries of the verdict for one table: each expectation, and what was found."""
    severity = {e.name: severity.get(e.name, "warn" if e.name in WARNS else "stop") for e in checked.suite}
    asked = [{"name": e.name, "type": e.type, "kwargs": e.kwargs, "severity": severity[e.name]} for e in checked.suite]
    found = great_expectations.run_suite(checked.facts, asked, checked.index)
    return [_entry(checked, e, severity[e.name], found[e.name]) for e in checked.suite]


def _entry(checked: Checked, expectation: Expectation, severity: str, result: Mapping[str, Any]) -> dict[str, Any]:
    values = [expectation.shows.format(value) for _, value in result["offending"]]
    return {
        "name": expectation.name,
        "title": expectation.title,
        "need": expectation.need,
        "layer": checked.layer,
        "severity": severity,
        "success": result["success"],
        "observed": _observed(checked.noun, expectation, result),
        "offending": [name for name, _ in result["offending"]],
        "values": values,
        "n_offending": result["n_offending"],
        "n": result["n"],
    }


def _observed(noun: str, expectation: Expectation, result: Mapping[str, Any]) -> str:
    if result["error"]:
        return f"could not be checked: {result['error']}"
    if result["observed"] is not None:
        return expectation.shows.format(result["observed"])
    if result["offending"]:
        return f"{result['n_offending']} of {result['n']} {noun}"
    return f"all {result['n']} {noun}" if result["n"] else expectation.nothing


def _verdict(
    species: str, digest: str, entries: list[dict], tested: tuple[Checked, ...], earlier: dict[str, Any] | None
) -> dict[str, Any]:
    failed = {
        kind: [e["name"] for e in entries if not e["success"] and e["severity"] == kind] for kind in ("stop", "warn")
    }
    candidates, pictures = tested[0].facts, tested[1].facts
    return {
        "species": species,
        "success": not failed["stop"],
        "stopped": failed["stop"],
        "warned": failed["warn"],
        "expectations": entries,
        "n_candidates": len(candidates),
        "n_collected": int(candidates["share"].sum()),
        **{f"n_{split}": int((pictures["split"] == split).sum()) for split in curated.SPLITS},
        "dataset_digest": digest,
        "previous_digest": earlier["dataset_digest"] if earlier else "",
    }


def _page(name: str, verdict: dict[str, Any], tested: tuple[Checked, ...]) -> str:
    found = {expectation.name: checked.picture for checked in tested for expectation in checked.suite}
    offences = {entry["name"]: _offences(entry, found[entry["name"]]) for entry in verdict["expectations"]}
    _, pictures, _, quantities = (checked.facts for checked in tested)
    licences = pictures["licence"].replace("", "unknown").value_counts().sort_index()
    return validation_page(
        verdict,
        name=name,
        offences=offences,
        licences={licence: int(n) for licence, n in licences.items()},
        moved=quantities.to_dict("records"),
    )


def _offences(entry: Mapping[str, Any], picture: Callable[[str], Path | None]) -> list[dict[str, Any]]:
    """Offenders as the page shows them: name, what was wrong, a small picture (None: there can be none)."""
    shown = list(zip(entry["offending"], entry["values"]))[:SHOWN]
    paths = [picture(name) for name, _ in shown]
    return [
        {"file_name": name, "value": value, "picture": site_files.thumbnail_uri(path) if path else None}
        for (name, value), path in zip(shown, paths)
    ]


def _write(paths: Paths, verdict: dict[str, Any], page: str) -> None:
    """Verdict, page and card; a red verdict is written too, so that one can see what was wrong."""
    kept = {key: verdict[key] for key in ("species", "success", "n_train", "n_holdout", "dataset_digest")}
    with atomic_write.fresh_folder(paths.validation) as folder:
        atomic_write.write_json(folder / "verdict.json", verdict)
        atomic_write.write_text(folder / "index.html", page)
        atomic_write.write_card(folder, stage="validate", **kept)


def _refusal(verdict: dict[str, Any], paths: Paths) -> str:
    entries = [e for e in verdict["expectations"] if e["name"] in verdict["stopped"]]
    warned = f" (and {len(verdict['warned'])} warned)" if verdict["warned"] else ""
    page = (paths.validation / "index.html").relative_to(paths.root)
    return (
        f"{len(entries)} of {len(verdict['expectations'])} expectations failed for {verdict['species']}{warned}: "
        + "; ".join(map(_sentence, entries))
        + f". Nothing is trained on it. {page} shows the pictures; mend the source (and look at it "
        f"again: `paleo run {paths.species} --refresh`) or `curate:` in params.yaml"
    )


def _sentence(entry: dict[str, Any]) -> str:
    """'readable' (2 of 40 pictures: train/a.png, train/b.png), or 'enough pictures' (5; at least 8 are needed)."""
    names = entry["offending"]
    more = f" and {entry['n_offending'] - NAMED} more" if entry["n_offending"] > NAMED else ""
    told = f": {', '.join(names[:NAMED])}{more}" if names else f"; {entry['need']}"
    return f"{entry['title']!r} ({entry['observed']}{told})"


def _lines(verdict: dict[str, Any]) -> tuple[str, ...]:
    total, warned = len(verdict["expectations"]), verdict["warned"]
    pictures = f"{verdict['n_train']} training and {verdict['n_holdout']} held-out pictures"
    first = f"validate {verdict['species']}: {total - len(warned)} of {total} expectations hold for {pictures}"
    return (first, *(f"warning: {_sentence(e)}" for e in verdict["expectations"] if e["name"] in warned))
