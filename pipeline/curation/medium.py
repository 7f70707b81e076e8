"""Medium check: painting, drawing or photograph by zero-shot CLIP, because they are not equally sharp or rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pipeline.core import param_types
from pipeline.curation.check import Check, CheckFindings, CheckParams, Prompts

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.core.data_params import Curate

PREFIX = "medium:"  # of the columns with a picture's cosine to each medium
UNKNOWN = ""  # of a picture that was not embedded


def _default_prompts() -> dict[str, param_types.Prompts]:
    return {"painting": ("a painting of a {class_noun}",), "drawing": ("a pencil drawing of a {class_noun}",)}


class MediumParams(CheckParams):
    """The media that are distinguished."""

    prompts: dict[str, param_types.Prompts] = Field(default_factory=_default_prompts)
    """Zero-shot prompts by medium; sharpness and information are compared inside one of these."""


class MediumCheck(Check):
    """Drops nothing: the column `medium` names the medium that a picture is nearest to."""

    Params = MediumParams
    columns = {"medium": "str"}

    def prompts(self, curate: Curate) -> Prompts:
        return {PREFIX + name: prompts for name, prompts in MediumParams.of(curate).prompts.items()}

    def check(self, scores: pd.DataFrame, remaining: np.ndarray, curate: Curate) -> CheckFindings:
        names = [column for column in scores.columns if column.startswith(PREFIX)]
        if not names:
            return CheckFindings(columns={"medium": np.full(len(scores), UNKNOWN, dtype=object)})
        cosines = scores[names].to_numpy(dtype=float)
        embedded = ~np.isnan(cosines).any(axis=1)
        media = np.array([name.removeprefix(PREFIX) for name in names], dtype=object)
        nearest = media[np.nan_to_num(cosines).argmax(axis=1)]
        return CheckFindings(columns={"medium": np.where(embedded, nearest, UNKNOWN)})
