"""Calibration of the scores against labels of people: precision, recall, the confusion table, better thresholds."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from pipeline.curation.check import Threshold
from pipeline.curation.verdicts import KEPT

SIDES = ("keep", "drop")
ANOTHER_CHECK = "-"


@dataclass(frozen=True)
class Quality:
    """Of the pictures to keep. NaN where nothing was kept, or nothing was to be kept."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total > 0 else 0.0


@dataclass(frozen=True)
class Suggestion:
    """The value of a threshold with the highest F1 among the labelled pictures that it decides.

    `reached` is what that value would give there, `present` what the one in params.yaml gives.
    """

    threshold: Threshold
    value: float
    reached: Quality
    present: Quality


@dataclass(frozen=True)
class Calibration:
    """`table`: for each (verdict by scores, code, class) the numbers of pictures that people keep and drop.

    `suggestions` are there for the thresholds that decide a labelled picture.
    """

    n_keep: int
    n_drop: int
    quality: Quality
    table: pd.DataFrame
    suggestions: tuple[Suggestion, ...] = ()


def calibration(verdicts: pd.DataFrame, labels: np.ndarray, thresholds: Iterable[Threshold]) -> Calibration:
    """Compare verdicts made without labels (columns verdict, code, clip_class, and those of thresholds) with labels.

    `labels` (n,) are keep, drop or empty.
    """
    labelled = verdicts.assign(label=labels)[labels != ""]
    wanted, kept = (labelled["label"] == "keep").to_numpy(), (labelled["verdict"] == "keep").to_numpy()
    suggestions = (_suggestion(labelled, wanted, threshold) for threshold in thresholds)
    return Calibration(
        int(wanted.sum()),
        int((~wanted).sum()),
        _quality(kept, wanted),
        _confusion(labelled),
        tuple(suggestion for suggestion in suggestions if suggestion),
    )


def best_threshold(values: np.ndarray, wanted: np.ndarray) -> float:
    """The least value with the highest F1, in the middle of its gap; the lowest of several."""
    ranked = np.unique(values)
    between = (ranked[1:] + ranked[:-1]) / 2
    candidates = np.concatenate([[ranked[0] - 0.001], between])
    scores = [_quality(values >= candidate, wanted).f1 for candidate in candidates]
    return round(float(candidates[int(np.argmax(scores))]), 4)


def lines(found: Calibration, species: str, reviews: str) -> Iterator[str]:
    """The printed report; `reviews` names the file with the labels."""
    labels = f"{found.n_keep} to keep and {found.n_drop} to drop by {reviews}"
    yield f"curate {species} without its labels, measured against them: {labels}"
    yield f"precision {_percent(found.quality.precision)}, recall {_percent(found.quality.recall)}"
    yield from _as_text(found.table).splitlines()
    for suggestion in found.suggestions:
        param, value = suggestion.threshold.param, suggestion.threshold.value
        yield f"{param} is {value:g}: {_in_words(suggestion.present)} of the labelled pictures that it decides"
        yield f"the highest F1 is at {suggestion.value:g}: {_in_words(suggestion.reached)}"


def _suggestion(labelled: pd.DataFrame, wanted: np.ndarray, threshold: Threshold) -> Suggestion | None:
    decided = (labelled[threshold.column].notna() & labelled["code"].isin([KEPT, threshold.code])).to_numpy()
    if not decided.any():
        return None
    values, wanted = labelled.loc[decided, threshold.column].to_numpy(dtype=float), wanted[decided]
    best = best_threshold(values, wanted)
    return Suggestion(threshold, best, _quality(values >= best, wanted), _quality(values >= threshold.value, wanted))


def _quality(kept: np.ndarray, wanted: np.ndarray) -> Quality:
    right, n_kept, n_wanted = float((kept & wanted).sum()), int(kept.sum()), int(wanted.sum())
    return Quality(right / n_kept if n_kept else float("nan"), right / n_wanted if n_wanted else float("nan"))


def _confusion(labelled: pd.DataFrame) -> pd.DataFrame:
    """Columns verdict, code, clip_class, keep, drop; the most frequent first."""
    keys = ["verdict", "code", "clip_class"]
    shown = labelled.assign(clip_class=labelled["clip_class"].replace("", ANOTHER_CHECK))
    counts = shown.groupby([*keys, "label"]).size().unstack("label", fill_value=0)
    counts = counts.reindex(columns=list(SIDES), fill_value=0).reset_index()
    order = counts.assign(first=counts["verdict"] != "keep", n=-counts[list(SIDES)].sum(axis=1))
    return counts.loc[order.sort_values(["first", "n", "code", "clip_class"]).index].reset_index(drop=True)


def _as_text(confusion: pd.DataFrame) -> str:
    table = Table("by scores", "code", "seen as", "people keep", "people drop")
    for row in confusion.itertuples():
        table.add_row(row.verdict, row.code, row.clip_class, str(row.keep), str(row.drop))
    sink = io.StringIO()
    Console(file=sink, width=100).print(table)
    return sink.getvalue()


def _in_words(quality: Quality) -> str:
    return f"precision {_percent(quality.precision)}, recall {_percent(quality.recall)}, F1 {quality.f1:.3f}"


def _percent(share: float) -> str:
    return "cannot be said" if np.isnan(share) else f"{100 * share:.1f} %"
