"""What a check is given, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.records import Rejection

if TYPE_CHECKING:  # children that decode need neither
    import pandas as pd

    from pipeline.core.params import Curate


@dataclass(frozen=True)
class CheckFindings:
    """By row: whom a check drops and why, what speaks for a picture, why a person should look at it; new columns.

    The columns are for later checks and for the table; each is as long as the scores.
    """

    drops: dict[int, Rejection] = field(default_factory=dict)
    praise: dict[int, str] = field(default_factory=dict)
    doubts: dict[int, str] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)


# (scores of all decoded pictures, which of them no earlier check dropped, thresholds) -> what was found
Check = Callable[["pd.DataFrame", np.ndarray, "Curate"], CheckFindings]


def rows(mask: np.ndarray) -> list[int]:
    """The numbers of the rows where a mask is true."""
    return np.flatnonzero(mask).tolist()
