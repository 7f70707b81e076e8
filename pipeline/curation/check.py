"""The contract of a curation check: what it is given, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import numpy as np

from pipeline.core.param_types import Section
from pipeline.core.reason_codes import ReasonCode
from pipeline.core.records import Rejection

if TYPE_CHECKING:  # params.yaml is read with the checks' params and without pandas
    import pandas as pd

    from pipeline.core.data_params import Curate

Prompts = Mapping[str, Sequence[str]]


class CheckParams(Section):
    """A check's own section of `curate` in params.yaml, under the check's name in `CHECKS`."""

    @classmethod
    def of(cls, curate: Curate) -> Self:
        """The section of this type in `curate`; its defaults where it is not written."""
        name = next((name for name, field in type(curate).model_fields.items() if field.annotation is cls), "")
        return getattr(curate, name, None) or cls()


@dataclass(frozen=True)
class CheckFindings:
    """What a check found, by the number of the row.

    `drops`: why a picture is dropped; `remarks`: sentences about one that is kept; `doubts`: why a person should review
    it; `kept_scores`: the score that a kept picture is shown with; `decided_by`: what decided instead of the thresholds
    in params.yaml, such as "few-shot". `columns` are added to the scores for later checks and for the table of
    verdicts; each is as long as the scores.
    """

    drops: dict[int, Rejection] = field(default_factory=dict)
    remarks: dict[int, str] = field(default_factory=dict)
    doubts: dict[int, str] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    kept_scores: dict[int, float] = field(default_factory=dict)
    decided_by: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Threshold:
    """The least `value` of a column with which a picture passes a check; `paleo curate --calibrate` suggests another.

    `param` is its key in params.yaml, `code` the one of the pictures below it.
    """

    param: str
    column: str
    code: str
    value: float


class Check(Protocol):
    """One reason, or a few related ones, to drop pictures. A subclass in a file of its own, named in `CHECKS`.

    Only `check` must be written; what else is here has a default that does nothing.
    """

    Params: ClassVar[type[CheckParams]] = CheckParams  # the base class: no params
    codes: ClassVar[tuple[ReasonCode, ...]] = ()  # of its rejections
    columns: ClassVar[Mapping[str, str]] = {}  # that `check` adds to the table of verdicts, with their dtypes

    def check(self, scores: pd.DataFrame, remaining: np.ndarray, curate: Curate) -> CheckFindings:
        """Judge the decoded pictures.

        `scores` has one row per picture: the measures, the scores that checks add, the columns of earlier checks, and
        `label` (the verdict of people: keep, drop or empty). `remaining` (n,) is True where no earlier check has
        dropped the picture; only such rows may be dropped.
        """
        ...

    def needs_embeddings(self, curate: Curate) -> bool:
        """Whether CLIP must embed the pictures for this check; other checks use the embeddings where there are some."""
        return False

    def prompts(self, curate: Curate) -> Prompts:
        """Columns of zero-shot scores by their names: the cosine of a picture to the mean direction of the prompts.

        The prompts may hold {name} and {class_noun}. The columns exist where pictures are embedded.
        """
        return {}

    def scores(self, scores: pd.DataFrame, labels: np.ndarray, curate: Curate) -> dict[str, np.ndarray]:
        """Further columns of scores.parquet, from the others and the `labels` (n,) of people: keep, drop or empty."""
        return {}

    def threshold(self, curate: Curate) -> Threshold | None:
        """The threshold that labels of people can calibrate."""
        return None

    def review_reasons(self, curate: Curate) -> tuple[str, ...]:
        """What the review page offers as a reason to drop a picture."""
        return ()


def rows(mask: np.ndarray) -> list[int]:
    """The numbers of the rows where a mask is true."""
    return np.flatnonzero(mask).tolist()
