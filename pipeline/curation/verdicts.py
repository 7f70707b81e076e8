"""From stored scores to verdicts: nothing else goes in than the scores, what people said, and the thresholds.

`recompute` is what the stage itself does, so `scores.parquet`, `data/reviews/` and params.yaml give its very verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.core.params import Curate
from pipeline.core.records import Rejection
from pipeline.curation.findings import Check, CheckFindings, rows
from pipeline.curation.split import held_out, units

KEPT = "kept"
REVIEWED = "reviewed"
NO_COMPLAINT = "No check found anything against it."
COLUMNS = {
    "verdict": "str",
    "code": "str",
    "score": "float64",
    "sentence": "str",
    "medium": "str",
    "group": "str",
    "series": "str",
    "clip_class": "str",
    "clip_margin": "float64",
    "uncertain": "str",
    "label": "str",
    "decided_by": "str",
    "split": "str",
    "file_name": "str",
}


def recompute(
    scores: pd.DataFrame, reviews: pd.DataFrame, params: Curate, seed: int, checks: Mapping[str, Check]
) -> pd.DataFrame:
    """One row of `COLUMNS` for each row of `scores` (as stored in scores.parquet), in their order.

    `reviews` are rows of `data/reviews/<species>.csv`: they outrank every score, but a file that cannot be decoded
    stays out. `seed` decides what is held out.
    """
    scores = scores.assign(label=labels(scores, reviews)).reset_index(drop=True)
    decoded = (scores["refused_code"] == "").to_numpy()
    verdicts = _blank(scores)
    seen = scores[decoded].reset_index(drop=True)
    verdicts.loc[decoded] = _judged(seen, reviews, params, checks).set_index(np.flatnonzero(decoded))
    _split(verdicts, scores, params.holdout_fraction, seed)
    return verdicts.astype(COLUMNS)


def labels(scores: pd.DataFrame, reviews: pd.DataFrame) -> np.ndarray:
    """What people said of each picture: keep, drop or nothing."""
    said = dict(zip(reviews["sha256"], reviews["verdict"]))
    return np.array([said.get(sha, "") for sha in scores["sha256"]], dtype=object)


def _blank(scores: pd.DataFrame) -> pd.DataFrame:
    """What can be said of pictures that could not be decoded."""
    blank = pd.DataFrame("", index=scores.index, columns=list(COLUMNS), dtype=object)
    return blank.assign(
        verdict="drop",
        code=scores["refused_code"],
        score=scores["refused_score"],
        label=scores["label"],
        sentence=scores["refused_sentence"],
        clip_margin=np.nan,
        decided_by="score",
    ).astype(object)


def _judged(scores: pd.DataFrame, reviews: pd.DataFrame, params: Curate, checks: Mapping[str, Check]) -> pd.DataFrame:
    """Run the checks over decoded pictures: each sees only what the earlier ones left alive."""
    drops = _dropped_by_people(scores, reviews)
    immune = set(rows((scores["label"] == "keep").to_numpy()))
    alive, praise, doubts = np.ones(len(scores), dtype=bool), {}, {}
    alive[list(drops)] = False
    for check in checks.values():
        findings = check(scores, alive.copy(), params)
        scores = scores.assign(**findings.columns)
        fresh = {row: why for row, why in findings.drops.items() if row not in immune}
        alive[list(fresh)] = False
        drops |= fresh
        doubts = {row: why for row, why in doubts.items() if row not in fresh}  # that is settled now
        _add(praise, findings.praise)
        _add(doubts, findings.doubts)
    praise |= _praise_of_people(scores, reviews)
    return _rows(scores, CheckFindings(drops, praise, doubts))


def _add(sentences: dict[int, str], more: Mapping[int, str]) -> None:
    for row, sentence in more.items():
        sentences[row] = f"{sentences[row]} {sentence}" if row in sentences else sentence


def _rows(scores: pd.DataFrame, found: CheckFindings) -> pd.DataFrame:
    numbers = range(len(scores))
    kept = np.array([row not in found.drops for row in numbers], dtype=bool)
    reviewed, learnt = scores["label"] != "", scores["few_shot"].notna()
    none = Rejection("", KEPT, "")
    columns = {name: scores.get(name, "") for name in ("medium", "group", "series", "clip_class")}
    frame = pd.DataFrame(columns, index=scores.index).assign(
        verdict=np.where(kept, "keep", "drop"),
        code=[found.drops.get(row, none).code for row in numbers],
        sentence=[
            found.drops[row].sentence if row in found.drops else found.praise.get(row, NO_COMPLAINT) for row in numbers
        ],
        clip_margin=scores.get("clip_margin", np.nan),
        uncertain=[found.doubts.get(row, "") for row in numbers],
        label=scores["label"],
        decided_by=np.select([reviewed, learnt & (kept | _by_class(found, numbers))], ["review", "few-shot"], "score"),
    )
    frame["uncertain"] = frame["uncertain"].where(~reviewed, "")
    given = pd.Series([found.drops[row].score if row in found.drops else None for row in numbers], dtype="float64")
    praise = scores["few_shot"].where(learnt, frame["clip_margin"])
    frame["score"] = given.where(~kept, praise)
    return frame.reindex(columns=list(COLUMNS), fill_value="").astype(object)


def _by_class(found: CheckFindings, numbers: range) -> np.ndarray:
    return np.array([row in found.drops and found.drops[row].check == "classes" for row in numbers], dtype=bool)


def _dropped_by_people(scores: pd.DataFrame, reviews: pd.DataFrame) -> dict[int, Rejection]:
    said = _words(reviews)
    dropped = rows((scores["label"] == "drop").to_numpy())
    return {row: Rejection("reviews", REVIEWED, f"{said[sha]}.") for row, sha in _sha(scores, dropped)}


def _praise_of_people(scores: pd.DataFrame, reviews: pd.DataFrame) -> dict[int, str]:
    said = _words(reviews)
    return {row: f"{said[sha]}." for row, sha in _sha(scores, rows((scores["label"] == "keep").to_numpy()))}


def _sha(scores: pd.DataFrame, numbers: list[int]) -> list[tuple[int, str]]:
    return [(row, scores["sha256"].iloc[row]) for row in numbers]


def _words(reviews: pd.DataFrame) -> dict[str, str]:
    """By sha256: who said what, and why."""
    past = {"keep": "kept", "drop": "dropped"}
    return {
        row["sha256"]: f"{row['who'] or 'A person'} {past[row['verdict']]} it"
        + (f": {row['why'].rstrip('.')}" if row["why"] else "")
        for row in reviews.to_dict("records")
    }


def _split(verdicts: pd.DataFrame, scores: pd.DataFrame, fraction: float, seed: int) -> None:
    """Fill `split` and `file_name` of kept pictures in place."""
    kept = (verdicts["verdict"] == "keep").to_numpy()
    apart = held_out(units(verdicts.loc[kept, "series"], scores.loc[kept, "author"]), seed, fraction)
    verdicts.loc[kept, "split"] = np.where(apart, "holdout", "train")
    names = verdicts.loc[kept, "split"] + "/" + scores.loc[kept, "sha256"].str[:16] + ".png"
    verdicts.loc[kept, "file_name"] = names.astype(object)
