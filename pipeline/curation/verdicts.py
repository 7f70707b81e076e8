"""Verdicts from stored scores: a function of the scores, the verdicts of people and the thresholds, of nothing else.

`recompute` is what the stage itself does, so `scores.parquet`, `data/reviews/` and params.yaml give its very verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.data_params import Curate
from pipeline.curation import reviewed
from pipeline.curation.check import Check, CheckFindings, rows
from pipeline.curation.split import held_out, units

KEPT = "kept"
NO_COMPLAINT = "No check found anything against it."
JUDGED = {"verdict": "str", "code": "str", "score": "float64", "sentence": "str"}
DECIDED = {"uncertain": "str", "label": "str", "decided_by": "str", "split": "str", "file_name": "str"}
MISSING: dict[str, Any] = {"str": "", "float64": np.nan}


def columns(checks: Mapping[str, Check]) -> dict[str, str]:
    """The columns of the table of verdicts with their dtypes, those that checks add among them."""
    added = {name: dtype for check in checks.values() for name, dtype in check.columns.items()}
    return JUDGED | added | DECIDED


def recompute(
    scores: pd.DataFrame, reviews: pd.DataFrame, curate: Curate, seed: int, checks: Mapping[str, Check]
) -> pd.DataFrame:
    """One row of `columns(checks)` for each row of `scores` (as stored in scores.parquet), in their order.

    `reviews` are rows of `data/reviews/<species>.csv`: they outrank every score, but a file that cannot be decoded
    stays out. `seed` decides what is held out.
    """
    scores = scores.assign(label=reviewed.labels(scores, reviews)).reset_index(drop=True)
    decoded = (scores["refused_code"] == "").to_numpy()
    verdicts = _not_decoded(scores, columns(checks))
    judged = _judged(scores[decoded].reset_index(drop=True), reviews, curate, checks)
    verdicts.loc[decoded] = judged.set_index(np.flatnonzero(decoded))
    _split(verdicts, scores, curate.holdout_fraction, seed)
    return verdicts.astype(columns(checks))


def _not_decoded(scores: pd.DataFrame, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """The verdicts on pictures that could not be decoded."""
    empty = {name: MISSING[dtype] for name, dtype in dtypes.items()}
    given = {
        "verdict": "drop",
        "code": scores["refused_code"],
        "score": scores["refused_score"],
        "sentence": scores["refused_sentence"],
        "label": scores["label"],
        "decided_by": "score",
    }
    return pd.DataFrame(empty | given, index=scores.index).astype(object)


def _judged(scores: pd.DataFrame, reviews: pd.DataFrame, curate: Curate, checks: Mapping[str, Check]) -> pd.DataFrame:
    """Run the checks over decoded pictures: each may drop only what the earlier ones and people left."""
    found = CheckFindings(drops=reviewed.drops(scores, reviews))
    kept_by_people = set(rows((scores["label"] == "keep").to_numpy()))
    for check in checks.values():
        remaining = np.array([row not in found.drops for row in range(len(scores))], dtype=bool)
        new = check.check(scores, remaining, curate)
        scores = scores.assign(**new.columns)
        _merge(found, new, remaining, kept_by_people)
    found.remarks.update(reviewed.remarks(scores, reviews))
    return _table(scores, found, columns(checks))


def _merge(found: CheckFindings, new: CheckFindings, remaining: np.ndarray, kept_by_people: set[int]) -> None:
    """Add a check's findings. A new drop settles what earlier checks doubted or decided about the picture."""
    drops = {row: why for row, why in new.drops.items() if row not in kept_by_people}
    found.drops.update(drops)
    found.kept_scores.update(new.kept_scores)
    for row in drops:
        found.doubts.pop(row, None)
        found.decided_by.pop(row, None)
    found.decided_by.update({row: by for row, by in new.decided_by.items() if remaining[row]})
    for sentences, more in ((found.remarks, new.remarks), (found.doubts, new.doubts)):
        for row, sentence in more.items():
            sentences[row] = f"{sentences[row]} {sentence}" if row in sentences else sentence


def _table(scores: pd.DataFrame, found: CheckFindings, dtypes: Mapping[str, str]) -> pd.DataFrame:
    numbers = range(len(scores))
    drops = [found.drops.get(row) for row in numbers]
    reviewed_ones = (scores["label"] != "").to_numpy()
    given = {
        "verdict": ["drop" if drop else "keep" for drop in drops],
        "code": [drop.code if drop else KEPT for drop in drops],
        "score": [drop.score if drop else found.kept_scores.get(row) for row, drop in enumerate(drops)],
        "sentence": [drop.sentence if drop else found.remarks.get(row, NO_COMPLAINT) for row, drop in enumerate(drops)],
        "uncertain": np.where(reviewed_ones, "", [found.doubts.get(row, "") for row in numbers]),
        "label": scores["label"],
        "decided_by": np.where(reviewed_ones, "review", [found.decided_by.get(row, "score") for row in numbers]),
    }
    added = {name: scores.get(name, MISSING[dtype]) for name, dtype in dtypes.items() if name not in JUDGED | DECIDED}
    table = pd.DataFrame(given | added, index=scores.index).astype({"score": "float64"})
    return table.reindex(columns=list(dtypes), fill_value="").astype(object)


def _split(verdicts: pd.DataFrame, scores: pd.DataFrame, fraction: float, seed: int) -> None:
    """Fill `split` and `file_name` of kept pictures in place."""
    kept = (verdicts["verdict"] == "keep").to_numpy()
    series = verdicts.get("series", scores["sha256"])  # without such a check every picture is its own series
    apart = held_out(units(series[kept], scores.loc[kept, "author"]), seed, fraction)
    verdicts.loc[kept, "split"] = np.where(apart, "holdout", "train")
    names = verdicts.loc[kept, "split"] + "/" + scores.loc[kept, "sha256"].str[:16] + ".png"
    verdicts.loc[kept, "file_name"] = names.astype(object)
