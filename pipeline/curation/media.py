"""What it is made with, by zero-shot CLIP: paintings, drawings and photographs are not equally sharp or rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.curation.findings import CheckFindings

if TYPE_CHECKING:  # children that decode need neither
    import pandas as pd

    from pipeline.core.params import Curate

PREFIX = "medium:"  # of the columns with a picture's cosine to each medium
UNKNOWN = ""  # of a picture that CLIP was not asked about


def check(scores: pd.DataFrame, alive: np.ndarray, params: Curate) -> CheckFindings:
    """Nothing is dropped: the column `medium` says which of `curate.media` a picture is most like."""
    names = [column for column in scores.columns if column.startswith(PREFIX)]
    if not names:
        return CheckFindings(columns={"medium": np.full(len(scores), UNKNOWN, dtype=object)})
    cosines = scores[names].to_numpy(dtype=float)
    asked = ~np.isnan(cosines).any(axis=1)
    best = np.array([name.removeprefix(PREFIX) for name in names], dtype=object)[np.nan_to_num(cosines).argmax(axis=1)]
    return CheckFindings(columns={"medium": np.where(asked, best, UNKNOWN)})
