"""How good are the scores, by the labels of people? Precision, recall, what was confused with what, a better margin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

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
class Calibration:
    """`table`: for each (verdict by scores, code, class) the numbers of pictures that people keep and drop.

    `margin` is the threshold with the highest F1 among the labelled pictures that the race between classes decides,
    `reached` what it would give there, `so_far` what the present one gives there; None when there is no such picture.
    """

    n_keep: int
    n_drop: int
    quality: Quality
    table: pd.DataFrame
    margin: float | None = None
    reached: Quality | None = None
    so_far: Quality | None = None


def calibration(verdicts: pd.DataFrame, labels: np.ndarray, least_margin: float) -> Calibration:
    """Compare verdicts made without labels (columns verdict, code, clip_class, clip_margin) with labels.

    `labels` (n,) are keep, drop or empty; `least_margin` is `curate.min_class_margin`.
    """
    labelled = verdicts.assign(label=labels)[labels != ""]
    wanted, kept = (labelled["label"] == "keep").to_numpy(), (labelled["verdict"] == "keep").to_numpy()
    raced = labelled["clip_margin"].notna() & labelled["code"].isin(["kept", "wrong_class"])
    race = (labelled.loc[raced, "clip_margin"].to_numpy(dtype=float), wanted[raced])
    margin = best_margin(*race) if raced.any() else None
    return Calibration(
        int(wanted.sum()),
        int((~wanted).sum()),
        _quality(kept, wanted),
        _confusion(labelled),
        margin,
        None if margin is None else _quality(race[0] >= margin, race[1]),
        None if margin is None else _quality(race[0] >= least_margin, race[1]),
    )


def best_margin(margins: np.ndarray, wanted: np.ndarray) -> float:
    """The threshold of the margin with the highest F1, in the middle of its gap; the lowest of several."""
    ranked = np.unique(margins)
    between = (ranked[1:] + ranked[:-1]) / 2
    candidates = np.concatenate([[ranked[0] - 0.001], between])
    scores = [_quality(margins >= candidate, wanted).f1 for candidate in candidates]
    return round(float(candidates[int(np.argmax(scores))]), 4)


def _quality(kept: np.ndarray, wanted: np.ndarray) -> Quality:
    right = float((kept & wanted).sum())
    return Quality(*(right / n if n else float("nan") for n in (int(kept.sum()), int(wanted.sum()))))


def _confusion(labelled: pd.DataFrame) -> pd.DataFrame:
    """Columns verdict, code, clip_class, keep, drop; the most frequent first."""
    keys = ["verdict", "code", "clip_class"]
    shown = labelled.assign(clip_class=labelled["clip_class"].replace("", ANOTHER_CHECK))
    counts = shown.groupby([*keys, "label"]).size().unstack("label", fill_value=0)
    counts = counts.reindex(columns=list(SIDES), fill_value=0).reset_index()
    order = counts.assign(first=counts["verdict"] != "keep", n=-counts[list(SIDES)].sum(axis=1))
    return counts.loc[order.sort_values(["first", "n", "code", "clip_class"]).index].reset_index(drop=True)
