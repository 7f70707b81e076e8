"""What the metrics look at: embedded samples and embedded pictures to compare them with.

All rows are unit vectors of one CLIP, so a dot product is a cosine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Rows = np.ndarray  # (n, d) float32, each of length one


@dataclass(frozen=True)
class Samples:
    """Pictures of one checkpoint: `rows` (n, d), the embedded text each is scored with (n, d), its prompt (n,)."""

    rows: Rows
    texts: Rows
    prompt_index: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: np.ndarray) -> Samples:
        """The pictures where `chosen` (n,) is true."""
        return Samples(self.rows[chosen], self.texts[chosen], self.prompt_index[chosen])


@dataclass(frozen=True)
class Reference:
    """The curated pictures: held-out ones of every species; of this one also their captions and its training pictures.

    Training pictures come with their mirror images, which training may have shown as well.
    """

    species: str
    holdout: Mapping[str, Rows]
    holdout_texts: Rows
    train: Rows
    train_mirrored: Rows
    train_names: tuple[str, ...]

    @property
    def own_holdout(self) -> Rows:
        return self.holdout[self.species]


@dataclass(frozen=True)
class Measured:
    """Values (m,) with the prompt (m,) each belongs to, or none and a sentence why."""

    values: np.ndarray
    clusters: np.ndarray
    reason: str = ""

    @classmethod
    def missing(cls, reason: str) -> Measured:
        return cls(np.zeros(0), np.zeros(0, int), reason)
