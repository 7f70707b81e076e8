"""What does it show? Zero-shot CLIP between competing classes: an absolute cosine says little, the race says much.

Where people have labelled enough pictures, what was learnt from them (`few_shot`) decides in place of the prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.records import Rejection
from pipeline.curation.findings import CheckFindings, rows

if TYPE_CHECKING:  # children that decode need neither
    import pandas as pd

    from pipeline.core.params import Curate

PREFIX = "cosine:"  # of the columns with a picture's cosine to each class
CLOSE_MARGIN = 0.01  # cosine; a race decided by less is one for people to look at
SURE = 0.5  # probability from which on the few-shot head keeps a picture
UNSURE = (0.3, 0.7)  # probabilities between which people should look


def check(scores: pd.DataFrame, alive: np.ndarray, params: Curate) -> CheckFindings:
    """Drop as `wrong_class` when the best class to keep does not lead the best other class by `min_class_margin`.

    The score is that lead, in cosine, or the few-shot probability where there is one. Pictures of a trusted source
    were not asked; neither was anything when no class competes.
    """
    names, margin, friend, rival = race(scores, params)
    columns = {"clip_class": np.where(margin >= 0, friend, rival), "clip_margin": margin}
    columns["clip_class"] = np.where(np.isnan(margin), "", columns["clip_class"]).astype(object)
    findings = CheckFindings(columns=columns)
    for row in rows(alive & scores["trusted"].to_numpy(dtype=bool)):
        findings.praise[row] = "Chosen by hand, so what it shows was not asked."
    learnt = scores["few_shot"].to_numpy(dtype=float)
    for row in rows(alive & ~np.isnan(learnt)):
        _by_labels(findings, row, float(learnt[row]))
    for row in rows(alive & np.isnan(learnt) & ~np.isnan(margin)):
        _by_race(findings, row, float(margin[row]), friend[row], rival[row], params.min_class_margin)
    return findings


def competing(params: Curate) -> bool:
    """Whether there is anything to ask: a class to keep and one that is not."""
    return bool(params.keep_classes) and len(params.keep_classes) < len(params.classes)


def race(scores: pd.DataFrame, params: Curate) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Classes; for each of the n pictures the lead of the best class to keep (NaN: not asked), it, and its rival."""
    names = [column.removeprefix(PREFIX) for column in scores.columns if column.startswith(PREFIX)]
    ours, nobody = np.isin(names, params.keep_classes), np.full(len(scores), "", dtype=object)
    if not ours.any() or ours.all():
        return names, np.full(len(scores), np.nan), nobody, nobody
    cosines = scores[[PREFIX + name for name in names]].to_numpy(dtype=float)
    labels = np.array(names, dtype=object)
    leaders = [labels[side][np.nan_to_num(cosines[:, side]).argmax(axis=1)] for side in (ours, ~ours)]
    margin = np.round(cosines[:, ours].max(axis=1) - cosines[:, ~ours].max(axis=1), 4)
    return names, margin, *leaders


def _by_race(findings: CheckFindings, row: int, margin: float, friend: str, rival: str, least: float) -> None:
    if margin < least:
        findings.drops[row] = _rejection(friend, rival, margin, least)
    else:
        findings.praise[row] = _praise(friend, rival, margin)
    if abs(margin - least) < CLOSE_MARGIN:
        findings.doubts[row] = f"It was a close race between {friend} and {rival}."


def _by_labels(findings: CheckFindings, row: int, probability: float) -> None:
    told = f"what people labelled makes it one to keep with a probability of {probability:.2f}"
    if probability < SURE:
        sentence = f"It is unlike the pictures that people kept: {told}."
        findings.drops[row] = Rejection("classes", "wrong_class", sentence, round(probability, 4))
    else:
        findings.praise[row] = f"It is like the pictures that people kept: {told}."
    if UNSURE[0] < probability < UNSURE[1]:
        findings.doubts[row] = f"Labels of people leave it open (probability {probability:.2f})."


def _praise(friend: str, rival: str, margin: float) -> str:
    if margin >= 0:
        return f"It looks like {friend}, {margin:.3f} ahead of {rival}."
    return f"It looks like {rival}, but {friend} is only {-margin:.3f} behind, which is let pass."


def _rejection(friend: str, rival: str, margin: float, least: float) -> Rejection:
    sentence = f"It looks like {rival}: {friend} is {-margin:.3f} behind."
    if margin >= 0:
        sentence = f"It may be {rival}: {friend} is only {margin:.3f} ahead, and {least:g} is asked."
    return Rejection("classes", "wrong_class", sentence, margin)
