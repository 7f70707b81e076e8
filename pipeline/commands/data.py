"""`paleo data log | diff`: the versions of a data set, and the difference between two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.table import Table

from pipeline.commands.listings import Listing, table_lines
from pipeline.core.errors import InputError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.io.files import dataset_versions

SHOWN = 12  # pictures of a kind of change that a diff lists
COMPARED = ("licence", "author", "caption", "title")  # facts whose change is worth a line


def log(params: Params, paths: Paths) -> Listing:
    """Every version of a species' pictures, with what changed against the one before."""
    table = Table("version", "day", "kept", "sources", "licences", "against the one before", box=None, pad_edge=False)
    before: pd.DataFrame | None = None
    versions = []
    found = dataset_versions.history(paths.root, paths.species)
    for version in found:
        rows = dataset_versions.manifest(paths.root, paths.species, version)
        kept = rows[rows["kept"]]
        table.add_row(
            version.name,
            version.day,
            f"{len(kept)} of {len(rows)}",
            _counts(kept["source"]),
            _counts(kept["licence"]),
            _summary(before, rows),
        )
        versions.append(
            {
                "version": version.name,
                "day": version.day,
                "commit": version.commit,
                "n_kept": len(kept),
                "n_candidates": len(rows),
                "sources": dict(Counter(kept["source"])),
                "licences": dict(Counter(kept["licence"])),
            }
        )
        before = rows
    if not found:
        raise InputError(f"there are no pictures of {paths.species} yet; `paleo collect {paths.species}` fetches them")
    return Listing("data", table_lines(table), data=versions)


def diff(params: Params, paths: Paths, revisions: Sequence[str]) -> Listing:
    """Pictures that were added, removed, newly rejected or changed between two versions.

    `revisions`: none (the last version against the one before it), one (that one against now), or two.
    """
    old, new = _pair(paths, revisions)
    before, after = (dataset_versions.manifest(paths.root, paths.species, version) for version in (old, new))
    changes = compare(before, after)
    table = Table("", old.name, new.name, box=None, pad_edge=False)
    table.add_row("candidates", str(len(before)), str(len(after)))
    for title, column in (("by source", "source"), ("by licence", "licence")):
        table.add_row(title, *(_counts(rows.loc[rows["kept"], column]) for rows in (before, after)))
    lines = [*table_lines(table), ""]
    for title, entries in changes.items():
        lines += _listed(title, entries)
    shown = (*lines, *(() if any(changes.values()) else ("nothing changed",)))
    return Listing("data", shown, data={"old": old.name, "new": new.name, **changes})


def compare(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, list[str]]:
    """By kind of change, one line for each picture: added, removed, newly rejected, changed."""
    old, new = ({(row["source"], row["source_id"]): row for row in rows.to_dict("records")} for rows in (before, after))
    had, has = ({key for key, row in side.items() if row["kept"]} for side in (old, new))
    rejected = {key for key, row in new.items() if not row["kept"]} - {k for k, row in old.items() if not row["kept"]}
    return {
        "added": [_picture_line(new[key]) for key in sorted(has - had)],
        "removed": [_picture_line(old[key]) for key in sorted(had - has)],
        "newly rejected": [f"{_picture_line(new[key])}: {new[key]['reason']}" for key in sorted(rejected)],
        "changed": [line for key in sorted(had & has) for line in _changed(old[key], new[key])],
    }


def _pair(
    paths: Paths, revisions: Sequence[str]
) -> tuple[dataset_versions.DatasetVersion, dataset_versions.DatasetVersion]:
    if len(revisions) > 2:
        raise InputError(f"a difference is between two versions, not {len(revisions)}")
    if revisions:
        old, new = (
            dataset_versions.resolve(paths.root, paths.species, name) for name in (*revisions, dataset_versions.NOW)[:2]
        )
        return old, new
    found = dataset_versions.history(paths.root, paths.species)
    if len(found) < 2:
        raise InputError(
            f"{paths.species} has {'one version' if found else 'no version'} so far, so there is nothing to compare; "
            "a commit of dvc.lock makes a version"
        )
    return found[-2], found[-1]


def _summary(before: pd.DataFrame | None, after: pd.DataFrame) -> str:
    if before is None:
        return "the first"
    signs = {"added": "+", "removed": "−", "newly rejected": "newly rejected ", "changed": "changed "}
    return ", ".join(f"{signs[kind]}{len(lines)}" for kind, lines in compare(before, after).items() if lines) or "equal"


def _picture_line(row: Mapping[str, Any]) -> str:
    facts = [row["title"] or row["source_id"], row["author"] or "unknown author", row["licence"] or "no licence"]
    return f"{row['source']}  {', '.join(facts)}"


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    facts = [f"{name} {old[name]!r} → {new[name]!r}" for name in COMPARED if old[name] != new[name]]
    facts += ["other bytes"] if old["sha256"] != new["sha256"] else []
    return [f"{_picture_line(new)}: {'; '.join(facts)}"] if facts else []


def _counts(values: Iterable[str]) -> str:
    counts = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {name or 'unknown'}" for name, number in counts) or "none"


def _listed(title: str, entries: list[str]) -> list[str]:
    if not entries:
        return []
    more = [f"  … and {len(entries) - SHOWN} more"] if len(entries) > SHOWN else []
    return [f"{title}: {len(entries)}", *(f"  {entry}" for entry in entries[:SHOWN]), *more]
