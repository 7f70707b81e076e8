"""What does it show? Zero-shot CLIP between competing classes: an absolute cosine says little, the race says much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from pipeline.core.records import Rejection
from pipeline.curation.looks import Embed, Findings, Look, Task


def check(looks: Sequence[Look], alive: Set[str], task: Task) -> Findings:
    """Drop as `wrong_class` when the best class to keep does not lead the best other class by `min_class_margin`.

    The score is that lead, in cosine. Pictures of a trusted source are not asked; neither is anything when no class
    competes (`classes` or `keep_classes` empty, or all of them kept).
    """
    asked = [look for look in looks if look.sha256 in alive and not look.trusted]
    praise = {look.sha256: "Chosen by hand, so what it shows was not asked." for look in looks if look.trusted}
    names = list(task.classes)
    kept = [name for name in names if name in task.params.keep_classes]
    if not asked or not kept or len(kept) == len(names):
        return Findings(praise=praise)
    cosines = task.embed_images([look.image for look in asked]) @ class_rows(task.classes, task.embed_texts).T
    return _findings(asked, cosines, names, task, praise)


def class_rows(classes: Mapping[str, Sequence[str]], embed_texts: Embed) -> np.ndarray:
    """One unit row (k, d) per class: the mean direction of its prompts."""
    means = np.stack([embed_texts(list(prompts)).mean(axis=0) for prompts in classes.values()])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def _findings(asked: list[Look], cosines: np.ndarray, names: list[str], task: Task, praise: dict) -> Findings:
    """cosines (n, k) -> who leads in each of the n races."""
    findings = Findings(praise=dict(praise))
    ours = np.isin(names, task.params.keep_classes)
    for look, row in zip(asked, cosines):
        friend, rival = (names[int(np.where(side, row, -np.inf).argmax())] for side in (ours, ~ours))
        margin = round(float(row[ours].max() - row[~ours].max()), 4)
        findings.notes[look.sha256] = {"clip_class": friend if margin >= 0 else rival, "clip_margin": margin}
        if margin < task.params.min_class_margin:
            findings.drops[look.sha256] = _rejection(friend, rival, margin, task.params.min_class_margin)
        else:
            findings.praise[look.sha256] = _praise(friend, rival, margin)
    return findings


def _praise(friend: str, rival: str, margin: float) -> str:
    if margin >= 0:
        return f"It looks like {friend}, {margin:.3f} ahead of {rival}."
    return f"It looks like {rival}, but {friend} is only {-margin:.3f} behind, which is let pass."


def _rejection(friend: str, rival: str, margin: float, least: float) -> Rejection:
    sentence = f"It looks like {rival}: {friend} is {-margin:.3f} behind."
    if margin >= 0:
        sentence = f"It may be {rival}: {friend} is only {margin:.3f} ahead, and {least:g} is asked."
    return Rejection("classes", "wrong_class", sentence, margin)
