"""The verdict on a data set (`verdict.json`), and how it is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.expectations.suite import DataSet

SPLITS = ("train", "holdout")
TOO_FEW = {"train_count", "holdout_count"}  # expectations that fail when too many pictures were dropped
NAMED = 5  # offenders that a message names


def verdict(
    species: str, digest: str, entries: Sequence[dict[str, Any]], data: DataSet, previous_digest: str
) -> dict[str, Any]:
    """The content of verdict.json; `entries` has one for each expectation, the digests are those of the data set."""
    failed = {
        severity: [entry["name"] for entry in entries if not entry["success"] and entry["severity"] == severity]
        for severity in ("stop", "warn")
    }
    return {
        "species": species,
        "success": not failed["stop"],
        "stopped": failed["stop"],
        "warned": failed["warn"],
        "expectations": entries,
        "n_candidates": len(data.manifest),
        "n_collected": int(data.manifest["kept"].astype(bool).sum()),
        **{f"n_{split}": int((data.kept["split"] == split).sum()) for split in SPLITS},
        "dataset_digest": digest,
        "previous_digest": previous_digest,
    }


def refusal(verdict: Mapping[str, Any], page: str, dropped: str, report: str) -> str:
    """The message of a stage that stops: which expectations failed, and what to do.

    `dropped` says what curation dropped, why, and what mends it; `report` is the page that shows these pictures.
    """
    entries = [e for e in verdict["expectations"] if e["name"] in verdict["stopped"]]
    too_few = dropped and not TOO_FEW.isdisjoint(verdict["stopped"])
    warned = f" (and {len(verdict['warned'])} warned)" if verdict["warned"] else ""
    return (
        f"{len(entries)} of {len(verdict['expectations'])} expectations failed for {verdict['species']}{warned}: "
        + "; ".join(map(_sentence, entries))
        + (f". Curation dropped {dropped} ({report} shows each)" if too_few else "")
        + f". Nothing is trained on it. {page} shows the pictures; mend the source (and look at it "
        f"again: `paleo run {verdict['species']} --refresh`) or `curate:` in params.yaml"
    )


def lines(verdict: Mapping[str, Any]) -> tuple[str, ...]:
    """The printed report of a stage that passes."""
    total, warned = len(verdict["expectations"]), verdict["warned"]
    pictures = f"{verdict['n_train']} training and {verdict['n_holdout']} held-out pictures"
    first = f"validate {verdict['species']}: {total - len(warned)} of {total} expectations hold for {pictures}"
    return (first, *(f"warning: {_sentence(e)}" for e in verdict["expectations"] if e["name"] in warned))


def _sentence(entry: Mapping[str, Any]) -> str:
    """'readable' (2 of 40 pictures: train/a.png, train/b.png), or 'enough pictures' (5; at least 8 are needed)."""
    names = entry["offending"]
    more = f" and {entry['n_offending'] - NAMED} more" if entry["n_offending"] > NAMED else ""
    detail = f": {', '.join(names[:NAMED])}{more}" if names else f"; {entry['need']}"
    return f"{entry['title']!r} ({entry['observed']}{detail})"
