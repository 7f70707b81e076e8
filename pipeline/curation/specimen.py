"""Specimen check: what its source calls a fossil, a skeleton or a carcass is no picture of the living animal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.reason_codes import ReasonCode
from pipeline.core.records import Rejection
from pipeline.curation.check import Check, CheckFindings, rows

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.core.data_params import Curate

SENTENCE = "Its source says that it shows a specimen: a fossil, a skeleton or a carcass."


class SpecimenCheck(Check):
    """Drops as `specimen` what the source calls one; it stays in `data/raw` and may serve as a negative."""

    codes = (
        ReasonCode(
            "specimen",
            "of the animal alive",
            "Fossils and skeletons",
            "Their source says that they show no living animal.",
        ),
    )

    def check(self, scores: pd.DataFrame, remaining: np.ndarray, curate: Curate) -> CheckFindings:
        specimens = remaining & (scores["shows"] == "specimen").to_numpy()
        return CheckFindings({row: Rejection("specimen", "specimen", SENTENCE) for row in rows(specimens)})
