"""Zero-shot check: what a picture shows, by CLIP between competing classes.

An absolute cosine means little; the difference between the best class to keep and the best other class means much.
Where people have labelled enough pictures, a few-shot classifier (`few_shot`) decides instead of the prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from pipeline.core import param_types
from pipeline.core.param_types import NonNegativeInt
from pipeline.core.reason_codes import ReasonCode
from pipeline.core.records import Rejection
from pipeline.curation import embeddings, few_shot
from pipeline.curation.check import Check, CheckFindings, CheckParams, Prompts, Threshold, rows

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.core.data_params import Curate

PREFIX = "cosine:"  # of the columns with a picture's cosine to each class
CLOSE_MARGIN = 0.01  # cosine; a margin nearer to the threshold is one for people to review
MIN_PROBABILITY = 0.5  # from which on the few-shot classifier keeps a picture
UNSURE_PROBABILITIES = (0.3, 0.7)  # between which people should review
FEW_SHOT = "few-shot"  # as the column `decided_by` has it


def _default_classes() -> dict[str, param_types.Prompts]:
    return {
        "life reconstruction": ("a {class_noun}", "a painting of a {class_noun}", "a pencil drawing of a {class_noun}"),
        "skeleton or fossil": ("a skeleton of a {class_noun} on rock", "a fossil of a {class_noun} on rock"),
        "bird": ("a painting of a bird", "a pencil drawing of a bird"),
        "bat": ("a painting of a bat", "a pencil drawing of a bat"),
        # The embedded CLIP has a thousand words and no statue: only words of its world here.
        "toy or statue": ("a toy {class_noun} on a table",),
        "map or cladogram": ("a diagram of a {class_noun} with text",),
        "size comparison with a human": ("a diagram of a {class_noun} and a human with text",),
        "page of text": ("a page with text",),
    }


class ZeroShotParams(CheckParams):
    """The competing classes, and which of them are kept."""

    classes: dict[str, param_types.Prompts] = Field(default_factory=_default_classes)
    """Zero-shot prompts by class; {name} and {class_noun} are filled in."""
    keep_classes: tuple[str, ...] = Field(default=("life reconstruction",), validate_default=True)
    """None, or all of the classes: nothing competes, and CLIP is not used."""
    min_margin: float = 0.0
    """Cosine to the best kept class minus that to the best other class; less is dropped."""
    few_shot_labels: NonNegativeInt = 0
    """With so many labels of data/reviews/ of each side a classifier learns from them; 0: never."""

    @field_validator("keep_classes")
    @classmethod
    def _are_classes(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = info.data.get("classes", names)  # absent when `classes` itself is wrong
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of curate.zero_shot.classes ({', '.join(known)})")
        return names

    @property
    def compete(self) -> bool:
        """Whether there is a class to keep and one that is not."""
        return bool(self.keep_classes) and len(self.keep_classes) < len(self.classes)


class Margins(NamedTuple):
    """Of n pictures: the margin in cosine (NaN: not embedded), the best class to keep, and the best other class."""

    margin: np.ndarray
    kept_class: np.ndarray
    other_class: np.ndarray


class ZeroShotCheck(Check):
    """Drops as `wrong_class` when the best class to keep does not lead the best other class by `min_margin`.

    The score is that margin, or the few-shot probability where there is one. Pictures of a trusted source are not
    judged; neither is any when no class competes.
    """

    Params = ZeroShotParams
    codes = (
        ReasonCode(
            "wrong_class",
            "of the animal alive",
            "Shows something else",
            "Nearer to a class that is not kept. The nearest misses first.",
            "if you chose them by hand, give their folder `trusted: true`; else change `curate.zero_shot.classes`",
            score_digits=3,
            highest_first=True,
        ),
    )
    columns = {"clip_class": "str", "clip_margin": "float64"}

    def needs_embeddings(self, curate: Curate) -> bool:
        return ZeroShotParams.of(curate).compete

    def prompts(self, curate: Curate) -> Prompts:
        return {PREFIX + name: prompts for name, prompts in ZeroShotParams.of(curate).classes.items()}

    def scores(self, scores: pd.DataFrame, labels: np.ndarray, curate: Curate) -> dict[str, np.ndarray]:
        rows, least = embeddings.matrix(scores), ZeroShotParams.of(curate).few_shot_labels
        return {"few_shot": few_shot.probabilities(rows, labels, least)}

    def threshold(self, curate: Curate) -> Threshold:
        least = ZeroShotParams.of(curate).min_margin
        return Threshold("curate.zero_shot.min_margin", "clip_margin", "wrong_class", least)

    def review_reasons(self, curate: Curate) -> tuple[str, ...]:
        params = ZeroShotParams.of(curate)
        return tuple(name for name in params.classes if name not in params.keep_classes)

    def check(self, scores: pd.DataFrame, remaining: np.ndarray, curate: Curate) -> CheckFindings:
        params = ZeroShotParams.of(curate)
        margin, kept_class, other_class = margins(scores, params.keep_classes)
        nearest = np.where(np.isnan(margin), "", np.where(margin >= 0, kept_class, other_class)).astype(object)
        learnt = scores["few_shot"].to_numpy(dtype=float)
        shown = np.where(np.isnan(learnt), margin, learnt)
        findings = CheckFindings(
            columns={"clip_class": nearest, "clip_margin": margin},
            kept_scores={row: float(shown[row]) for row in rows(~np.isnan(shown))},
            decided_by=dict.fromkeys(rows(~np.isnan(learnt)), FEW_SHOT),
        )
        for row in rows(remaining & scores["trusted"].to_numpy(dtype=bool)):
            findings.remarks[row] = "Chosen by hand, so CLIP did not judge what it shows."
        for row in rows(remaining & ~np.isnan(learnt)):
            _by_labels(findings, row, float(learnt[row]))
        for row in rows(remaining & np.isnan(learnt) & ~np.isnan(margin)):
            _by_margin(findings, row, float(margin[row]), kept_class[row], other_class[row], params.min_margin)
        return findings


def margins(scores: pd.DataFrame, keep_classes: tuple[str, ...]) -> Margins:
    """How far the best class to keep leads the best other class, by the cosines in `scores`."""
    names = [column.removeprefix(PREFIX) for column in scores.columns if column.startswith(PREFIX)]
    kept, none = np.isin(names, keep_classes), np.full(len(scores), "", dtype=object)
    if not kept.any() or kept.all():
        return Margins(np.full(len(scores), np.nan), none, none)
    cosines = scores[[PREFIX + name for name in names]].to_numpy(dtype=float)
    labels = np.array(names, dtype=object)
    best = [labels[side][np.nan_to_num(cosines[:, side]).argmax(axis=1)] for side in (kept, ~kept)]
    margin = np.round(cosines[:, kept].max(axis=1) - cosines[:, ~kept].max(axis=1), 4)
    return Margins(margin, *best)


def _by_margin(findings: CheckFindings, row: int, margin: float, kept: str, other: str, min_margin: float) -> None:
    if margin < min_margin:
        sentence = f"It looks like {other}: {kept} is {-margin:.3f} behind."
        if margin >= 0:
            sentence = f"It may be {other}: {kept} is only {margin:.3f} ahead, and {min_margin:g} is needed."
        findings.drops[row] = Rejection("zero_shot", "wrong_class", sentence, margin)
    elif margin >= 0:
        findings.remarks[row] = f"It looks like {kept}, {margin:.3f} ahead of {other}."
    else:
        findings.remarks[row] = f"It looks like {other}, but {kept} is only {-margin:.3f} behind, which is accepted."
    if abs(margin - min_margin) < CLOSE_MARGIN:
        findings.doubts[row] = f"The margin between {kept} and {other} is small."


def _by_labels(findings: CheckFindings, row: int, probability: float) -> None:
    by = f"by the labels of people it is one to keep with a probability of {probability:.2f}"
    if probability < MIN_PROBABILITY:
        sentence = f"It is unlike the pictures that people kept: {by}."
        findings.drops[row] = Rejection("zero_shot", "wrong_class", sentence, round(probability, 4))
    else:
        findings.remarks[row] = f"It is like the pictures that people kept: {by}."
    if UNSURE_PROBABILITIES[0] < probability < UNSURE_PROBABILITIES[1]:
        findings.doubts[row] = f"Labels of people leave it open (probability {probability:.2f})."
