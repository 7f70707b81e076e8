"""Expectations about candidates: what must hold of everything that was collected, kept or not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.expectations.expectation import Expectation, in_set, matches, unique
from pipeline.expectations.rights import rights, rights_of
from pipeline.expectations.suite import DataSet, Limits, Suite

REQUIRED_COLUMNS = (
    "source",
    "source_id",
    "page_url",
    "author",
    "licence",
    "sha256",
    "path",
    "bytes",
    "kept",
    "reason_code",
    "reason",
)
STORED = r"^images/[0-9a-f]{64}\.[a-z0-9]+$"


def expectations(limits: Limits) -> tuple[Expectation, ...]:
    """In the order of the page; the first three are about rights."""
    share = limits.validate.min_kept_share
    return (
        *rights(limits.licences, "manifest_", page="page"),
        in_set(
            "manifest_stored",
            "file there",
            "a kept candidate names its file, which is there with all its bytes",
            "problem",
            [""],
            "{}",
        ),
        matches(
            "manifest_reason",
            "reason given",
            "a candidate that is not kept has a reason code and a sentence",
            "reason",
            r"^\S+: \S",
            "reason {!r}",
        ),
        unique("manifest_unique", "no file twice", "no two kept candidates have the same bytes", "sha256"),
        Expectation(
            "manifest_count",
            "enough of it kept",
            f"at least {share:.0%} of the candidates are kept",
            "expect_column_mean_to_be_between",
            {"column": "share", "min_value": share},
            "{:.1%} kept",
            "warn",
            "no candidates",
        ),
    )


def facts(data: DataSet) -> pd.DataFrame:
    """One row per candidate; what is expected only of a kept one is missing for the others, and the reverse."""
    manifest = data.manifest
    kept = manifest["kept"].astype(bool)
    reason = manifest["reason_code"].fillna("") + ": " + manifest["reason"].fillna("")
    problem = _problems(manifest, data.stored_bytes)
    of_kept = rights_of(manifest, data.limits.licences).assign(problem=problem, sha256=manifest["sha256"])
    return of_kept.where(kept).assign(
        candidate=manifest["source_id"].fillna("") + " (" + manifest["source"].fillna("") + ")",
        reason=reason.mask(kept),
        share=kept.astype(float),
        thumbnail=manifest["sha256"].fillna(""),
    )


def _problems(manifest: pd.DataFrame, stored_bytes: Mapping[str, int]) -> np.ndarray:
    """What is wrong with the file of each candidate: empty when nothing is."""
    path, sha256 = manifest["path"].fillna(""), manifest["sha256"].fillna("")
    named = path.str.match(STORED) & (path.str.slice(7, 71) == sha256)
    size = path.map(stored_bytes)
    problems = {
        "no file is named": path == "",
        "the file is not called as its sha256": ~named,
        "the file is missing": size.isna(),
        "the file has another size than when it was collected": size != manifest["bytes"],
    }
    return np.select(list(problems.values()), list(problems), default="")


CANDIDATES = Suite("manifest", "candidates", "candidate", facts, expectations)
