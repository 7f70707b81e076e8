"""Stage `validate`: is what was collected as it should be, and the curated set fit to train on? Red stops the run.

Suites of expectations, of every candidate and of the curated pictures. For the drift between versions the stage keeps
the statistics of the newest accepted one, and of the one before it, in a file that git versions: it is what the next
version is compared with, on any clone. A refused version leaves no statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core import strict_json
from pipeline.core.errors import GateError, InputError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Report
from pipeline.curation.duplicates import DuplicatesParams
from pipeline.curation.size import SizeParams
from pipeline.expectations import EXPECTATIONS, drift, manifest_suite, picture_facts, verdicts
from pipeline.expectations.expectation import Expectation
from pipeline.expectations.severity import with_severity
from pipeline.expectations.suite import DataSet, Limits, Suite
from pipeline.io.files import atomic_write, parquet, site_files
from pipeline.io.great_expectations import ExpectationResult, run_suite
from pipeline.io.images import file_facts
from pipeline.pages.validation import validation_page

SHOWN = 24  # offenders that the page shows for one expectation


@dataclass(frozen=True)
class Checked:
    """A suite that was run: its table of facts, and each expectation with its entry in verdict.json."""

    suite: Suite
    facts: pd.DataFrame
    entries: tuple[dict[str, Any], ...]


def validate(params: Params, paths: Paths) -> Report:
    """Check one species; verdict and page are written whatever the outcome.

    Raises
    ------
    GateError
        When an expectation of severity `stop` failed: which ones, what was observed, and the offenders.
    InputError
        When a table is missing or of an earlier form, or the statistics of the version before cannot be read.
    ParamsError
        When `validate.severity` names no expectation.
    """
    limits = _limits(params, paths)
    expectations = with_severity(limits, params.validate_.severity)
    card = atomic_write.read_card(paths.curated)
    digest = card["digest"]
    previous = _previous_version(paths.statistics, digest)
    data = _read(paths, limits, previous["statistics"] if previous else {})

    checked = [_check(suite, expectations[name], data) for name, suite in EXPECTATIONS.items()]
    entries = [entry for one in checked for entry in one.entries]
    verdict = verdicts.verdict(paths.species, digest, entries, data, previous["dataset_digest"] if previous else "")

    _write(paths, verdict, _page(verdict, checked, data, paths))
    if not verdict["success"]:
        page, report = (
            (folder / "index.html").relative_to(paths.root) for folder in (paths.validation, paths.curation)
        )
        raise GateError(verdicts.refusal(verdict, str(page), card.get("dropped", ""), str(report)))
    newest = {"dataset_digest": digest, "statistics": drift.statistics(data.pictures)}
    atomic_write.write_json(paths.statistics, {**newest, "previous": previous})
    return Report(
        "validate", verdicts.lines(verdict), {"n_train": verdict["n_train"], "n_holdout": verdict["n_holdout"]}
    )


def _limits(params: Params, paths: Paths) -> Limits:
    size, duplicates = SizeParams.of(params.curate), DuplicatesParams.of(params.curate)
    return Limits(
        params.species[paths.species].name,
        params.collect.licences,
        size.min_side_px,
        size.max_aspect,
        duplicates.phash_bits,
        duplicates.dhash_bits,
        params.validate_,
    )


def _read(paths: Paths, limits: Limits, previous: Mapping[str, Any]) -> DataSet:
    """The tables and the files of one species; InputError when they do not belong together."""
    manifest = _table(paths.raw / "manifest.parquet", manifest_suite.REQUIRED_COLUMNS, f"paleo collect {paths.species}")
    kept = _table(paths.curated / "metadata.parquet", picture_facts.REQUIRED_COLUMNS, f"paleo curate {paths.species}")
    foreign = sorted(set(kept["sha256"]) - set(manifest.loc[manifest["kept"].astype(bool), "sha256"]))
    if foreign:
        raise InputError(
            f"{paths.curated} has {len(foreign)} of {len(kept)} pictures that {paths.raw} does not keep (the first is "
            f"{foreign[0][:16]!r}): it was collected anew; run `paleo curate {paths.species}` again"
        )
    stored_bytes = file_facts.sizes_bytes(paths.raw, "images")
    inspected = file_facts.inspect_pictures(paths.curated, list(kept["file_name"]), f"validate {paths.species}")
    return DataSet(manifest, stored_bytes, kept, inspected, limits, previous)


def _table(path: Path, required: tuple[str, ...], command: str) -> pd.DataFrame:
    table = parquet.read(path)
    missing = sorted(set(required) - set(table.columns))
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}, so an earlier version wrote it; run `{command}` again")
    return table.reset_index(drop=True)


def _previous_version(path: Path, digest: str) -> dict[str, Any] | None:
    """Digest and statistics of the version before the one called `digest`; None when there was none.

    Run twice, the stage finds its own statistics, and goes on comparing with those before them.
    """
    if not path.is_file():
        return None
    try:
        stored = strict_json.parse(path.read_bytes())
        newest = {key: stored[key] for key in ("dataset_digest", "statistics")}
        return stored["previous"] if newest["dataset_digest"] == digest else newest
    except (ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{path} does not hold the statistics of a version ({why}); restore it from git "
            "(`git checkout -- FILE`), or delete it: then nothing is compared this time"
        ) from None


def _check(suite: Suite, expectations: tuple[Expectation, ...], data: DataSet) -> Checked:
    facts = suite.facts(data)
    results = run_suite(facts, expectations, suite.index)
    return Checked(suite, facts, tuple(_entry(suite, one, results[one.name]) for one in expectations))


def _entry(suite: Suite, expectation: Expectation, result: ExpectationResult) -> dict[str, Any]:
    """The entry of an expectation in verdict.json."""
    return {
        "name": expectation.name,
        "title": expectation.title,
        "need": expectation.need,
        "layer": suite.layer,
        "severity": expectation.severity,
        "success": result.success,
        "observed": _observed(suite.noun, expectation, result),
        "offending": [name for name, _ in result.offending],
        "values": [expectation.value_format.format(value) for _, value in result.offending],
        "n_offending": result.n_offending,
        "n": result.n,
    }


def _observed(noun: str, expectation: Expectation, result: ExpectationResult) -> str:
    if result.error:
        return f"could not be checked: {result.error}"
    if result.observed is not None:
        return expectation.value_format.format(result.observed)
    if result.offending:
        return f"{result.n_offending} of {result.n} {noun}"
    return f"all {result.n} {noun}" if result.n else expectation.when_empty


def _page(verdict: dict[str, Any], checked: list[Checked], data: DataSet, paths: Paths) -> str:
    licences = data.pictures["licence"].replace("", "unknown").value_counts().sort_index()
    return validation_page(
        verdict,
        name=data.limits.name,
        offences={
            entry["name"]: _offences(entry, pictures)
            for one, pictures in ((one, _pictures(one, paths)) for one in checked)
            for entry in one.entries
        },
        licences={licence: int(n) for licence, n in licences.items()},
        moved=drift.compared(data.pictures, data.previous).to_dict("records"),
        gallery=paths.gallery_link(paths.validation),
    )


def _pictures(checked: Checked, paths: Paths) -> dict[str, Path]:
    """By the name of a row: the picture of an offender. Those of candidates are thumbnails, which curation made."""
    index, offending = checked.suite.index, {name for entry in checked.entries for name in entry["offending"][:SHOWN]}
    rows = checked.facts[checked.facts[index].isin(offending)]
    if "thumbnail" in rows:
        return {name: paths.curation / f"thumbs/{sha256}.webp" for name, sha256 in zip(rows[index], rows["thumbnail"])}
    return {name: paths.curated / file for name, file in zip(rows[index], rows.get("file_name", ()))}


def _offences(entry: Mapping[str, Any], pictures: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Offenders as the page shows them: name, what was wrong, a small picture (None: there can be none)."""
    shown = list(zip(entry["offending"], entry["values"]))[:SHOWN]
    return [
        {
            "file_name": name,
            "value": value,
            "picture": site_files.thumbnail_uri(pictures[name]) if name in pictures else None,
        }
        for name, value in shown
    ]


def _write(paths: Paths, verdict: dict[str, Any], page: str) -> None:
    """Verdict, page and card; a red verdict is written too, so that one can see what was wrong."""
    kept = {key: verdict[key] for key in ("species", "success", "n_train", "n_holdout", "dataset_digest")}
    with atomic_write.fresh_folder(paths.validation) as folder:
        atomic_write.write_json(folder / "verdict.json", verdict)
        atomic_write.write_text(folder / "index.html", page)
        atomic_write.write_card(folder, stage="validate", **kept)
