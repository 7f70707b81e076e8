"""Stage `validate`: is the curated data set fit to train on? Red stops the run."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipeline.core.errors import GateError, InputError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Report
from pipeline.curation.expectations import NEEDED, SPLITS, Expectation, expectations, facts
from pipeline.io import checks, outputs, site, tables
from pipeline.pages.validation import validation_page

NAMED = 5  # offending files that a message names
SHOWN = 24  # offending pictures that the page shows for one expectation


def validate(params: Params, paths: Paths) -> Report:
    """Check the curated set of one species; verdict and page are written whatever the outcome.

    Raises
    ------
    GateError
        When an expectation of severity `stop` failed: which ones, what was seen, and the offending files.
    """
    card = outputs.read_card(paths.curated)
    table = _table(paths)
    measured = checks.measure(paths.curated, table["file_name"])

    suite = expectations(params, params.species[paths.species].name)
    seen = facts(table, measured)
    severity = params.validate_.severity.model_dump()
    results = checks.run_suite(seen, [_plain(e, severity[e.name]) for e in suite])
    verdict = _verdict(
        paths.species, card["digest"], seen, [_judged(e, severity[e.name], results[e.name]) for e in suite]
    )

    offences = {e.name: _offences(paths, e.shows, results[e.name]["offending"]) for e in suite}
    _write(params, paths, verdict, offences, seen)
    if not verdict["success"]:
        raise GateError(_refusal(verdict, paths))
    return Report("validate", _lines(verdict), {"n_train": verdict["n_train"], "n_holdout": verdict["n_holdout"]})


def _table(paths: Paths) -> pd.DataFrame:
    table = tables.read(paths.curated / "metadata.parquet")
    lacking = sorted(set(NEEDED) - set(table.columns))
    if lacking:
        where = f"{paths.curated / 'metadata.parquet'} lacks {', '.join(lacking)}"
        raise InputError(f"{where}; run `paleo curate {paths.species}` again")
    return table.reset_index(drop=True)


def _plain(expectation: Expectation, severity: str) -> dict[str, Any]:
    return {"name": expectation.name, "type": expectation.type, "kwargs": expectation.kwargs, "severity": severity}


def _judged(expectation: Expectation, severity: str, result: dict[str, Any]) -> dict[str, Any]:
    """One entry of the verdict: the expectation, and what was found."""
    return {
        "name": expectation.name,
        "title": expectation.title,
        "need": expectation.need,
        "severity": severity,
        "success": result["success"],
        "observed": _observed(result),
        "offending": list(result["offending"]),
        "n": result["n"],
    }


def _observed(result: dict[str, Any]) -> str:
    if result["error"]:
        return f"could not be checked: {result['error']}"
    if result["observed"] is not None:
        return str(result["observed"])
    if result["offending"]:
        return f"{len(result['offending'])} of {result['n']} pictures"
    return f"all {result['n']} pictures" if result["n"] else "no pictures to look at"


def _verdict(species: str, digest: str, seen: pd.DataFrame, judged: list[dict[str, Any]]) -> dict[str, Any]:
    failed = {
        kind: [e["name"] for e in judged if not e["success"] and e["severity"] == kind] for kind in ("stop", "warn")
    }
    return {
        "species": species,
        "success": not failed["stop"],
        "stopped": failed["stop"],
        "warned": failed["warn"],
        "expectations": judged,
        **{f"n_{split}": int((seen["split"] == split).sum()) for split in SPLITS},
        "dataset_digest": digest,
    }


def _offences(paths: Paths, shows: str, offending: dict[str, Any]) -> list[dict[str, str]]:
    """The offending pictures as the page shows them: name, what was wrong with it, and a small picture."""
    shown = list(offending.items())[:SHOWN]
    pictures = [site.thumbnail_uri(paths.curated / name) for name, _ in shown]
    return [
        {"file_name": name, "value": shows.format(value), "picture": picture}
        for (name, value), picture in zip(shown, pictures)
    ]


def _write(
    params: Params, paths: Paths, verdict: dict[str, Any], offences: dict[str, list], seen: pd.DataFrame
) -> None:
    """Verdict, page and card; a red verdict is written too, so that one can see what was wrong."""
    name = params.species[paths.species].name
    licences = seen["licence"].replace("", "unknown").value_counts().sort_index()
    page = validation_page(verdict, name=name, offences=offences, licences={key: int(n) for key, n in licences.items()})
    kept = {key: verdict[key] for key in ("species", "success", "n_train", "n_holdout", "dataset_digest")}
    with outputs.fresh_folder(paths.validation) as folder:
        outputs.write_json(folder / "verdict.json", verdict)
        outputs.write_text(folder / "index.html", page)
        outputs.write_card(folder, stage="validate", **kept)


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
    files = entry["offending"]
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    told = f": {', '.join(files[:NAMED])}{more}" if files else f"; {entry['need']}"
    return f"{entry['title']!r} ({entry['observed']}{told})"


def _lines(verdict: dict[str, Any]) -> tuple[str, ...]:
    total, warned = len(verdict["expectations"]), verdict["warned"]
    pictures = f"{verdict['n_train']} training and {verdict['n_holdout']} held-out pictures"
    first = f"validate {verdict['species']}: {total - len(warned)} of {total} expectations hold for {pictures}"
    return (first, *(f"warning: {_sentence(e)}" for e in verdict["expectations"] if e["name"] in warned))
