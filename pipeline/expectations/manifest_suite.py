"""Layer one: what must hold of everything that was collected, kept or not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.core.params import Params
from pipeline.expectations.expectation import Expectation, in_set, matches, rights, rights_of, unique

NEEDED = (
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


def suite(params: Params) -> tuple[Expectation, ...]:
    """In the order of the page; the first three are about rights."""
    share = params.validate_.min_kept_share
    return (
        *rights(params.collect.licences, "manifest_", page="page"),
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
            "reason told",
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
            "no candidates",
        ),
    )


def facts(manifest: pd.DataFrame, stored: Mapping[str, int], policy: tuple[str, ...]) -> pd.DataFrame:
    """One row per candidate; what is only asked of a kept one is missing for the others, and the reverse.

    `stored` has the files of data/raw by their paths, with their sizes in bytes.
    """
    kept = manifest["kept"].astype(bool)
    why = manifest["reason_code"].fillna("") + ": " + manifest["reason"].fillna("")
    asked = rights_of(manifest, policy).assign(problem=_problems(manifest, stored), sha256=manifest["sha256"])
    return asked.where(kept).assign(
        candidate=manifest["source_id"].fillna("") + " (" + manifest["source"].fillna("") + ")",
        reason=why.mask(kept),
        share=kept.astype(float),
    )


def _problems(manifest: pd.DataFrame, stored: Mapping[str, int]) -> np.ndarray:
    """What is wrong with the file of each candidate: empty when nothing is."""
    path, sha256 = manifest["path"].fillna(""), manifest["sha256"].fillna("")
    named = path.str.match(STORED) & (path.str.slice(7, 71) == sha256)
    size = path.map(stored)
    wrong = [path == "", ~named, size.isna(), size != manifest["bytes"]]
    said = [
        "no file is named",
        "the file is not called as its sha256",
        "the file is missing",
        "the file has another size than when it was collected",
    ]
    return np.select(wrong, said, default="")
