"""What the source itself says: a fossil, a skeleton or a carcass is no picture of the living animal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.records import Rejection
from pipeline.curation.findings import CheckFindings, rows

if TYPE_CHECKING:  # children that decode need neither
    import pandas as pd

    from pipeline.core.params import Curate


def check(scores: pd.DataFrame, alive: np.ndarray, params: Curate) -> CheckFindings:
    """Drop as `specimen` what the source calls one; it stays in `data/raw` and may serve as a negative."""
    said = alive & (scores["shows"] == "specimen").to_numpy()
    sentence = "Its source says that it shows a specimen: a fossil, a skeleton or a carcass."
    return CheckFindings({row: Rejection("specimen", "specimen", sentence) for row in rows(said)})
