"""Verdicts of people on pictures: they outrank every score."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.core.reason_codes import ReasonCode
from pipeline.core.records import Rejection

REVIEWED = ReasonCode(
    "reviewed",
    "approved by people",
    "Dropped by people",
    "A person looked at them; that outranks every score.",
    "look again: `paleo review {species}`",
)
PAST = {"keep": "kept", "drop": "dropped"}


def labels(scores: pd.DataFrame, reviews: pd.DataFrame) -> np.ndarray:
    """The verdict of people on each picture: keep, drop or empty."""
    verdicts = dict(zip(reviews["sha256"], reviews["verdict"]))
    return np.array([verdicts.get(sha256, "") for sha256 in scores["sha256"]], dtype=object)


def drops(scores: pd.DataFrame, reviews: pd.DataFrame) -> dict[int, Rejection]:
    """By the number of the row: the pictures that people dropped."""
    return {row: Rejection("reviews", REVIEWED.code, text) for row, text in _sentences(scores, reviews, "drop").items()}


def remarks(scores: pd.DataFrame, reviews: pd.DataFrame) -> dict[int, str]:
    """By the number of the row: sentences about the pictures that people kept."""
    return _sentences(scores, reviews, "keep")


def _sentences(scores: pd.DataFrame, reviews: pd.DataFrame, verdict: str) -> dict[int, str]:
    """Who gave this verdict, and why."""
    sentences = {
        row["sha256"]: f"{row['who'] or 'A person'} {PAST[row['verdict']]} it"
        + (f": {row['why'].rstrip('.')}." if row["why"] else ".")
        for row in reviews.to_dict("records")
    }
    given = np.flatnonzero(scores["label"] == verdict).tolist()
    return {row: sentences[scores["sha256"].iloc[row]] for row in given}
