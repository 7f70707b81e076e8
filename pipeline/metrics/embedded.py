"""What the metrics look at: embedded samples and embedded pictures to compare them with.

All rows are unit vectors of one CLIP, so a dot product is a cosine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Rows = np.ndarray  # (n, d) float32, each of length one


@dataclass(frozen=True)
class EmbeddedSamples:
    """Pictures of one checkpoint: `rows` (n, d), the embedded text each is scored with (n, d), its prompt (n,)."""

    rows: Rows
    texts: Rows
    prompt_index: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: np.ndarray) -> EmbeddedSamples:
        """The pictures where `chosen` (n,) is true."""
        return EmbeddedSamples(self.rows[chosen], self.texts[chosen], self.prompt_index[chosen])


@dataclass(frozen=True)
class Views:
    """Curated pictures and their mirror images, in the same order: each is (n, d)."""

    plain: Rows
    mirrored: Rows

    def __len__(self) -> int:
        return len(self.plain)

    @property
    def both(self) -> Rows:
        """(2n, d)."""
        return np.concatenate([self.plain, self.mirrored])

    def without(self, index: int) -> Views:
        """All but one picture."""
        return Views(np.delete(self.plain, index, axis=0), np.delete(self.mirrored, index, axis=0))


@dataclass(frozen=True)
class Reference:
    """The curated pictures of every species; of the measured one also its captions and its training pictures' names."""

    species: str
    holdout: Mapping[str, Views]
    train: Mapping[str, Views]
    holdout_texts: Rows
    train_names: tuple[str, ...]

    @property
    def own_holdout(self) -> Rows:
        """(h, d), not mirrored."""
        return self.holdout[self.species].plain

    @property
    def own_train(self) -> Views:
        return self.train[self.species]

    @property
    def can_compare(self) -> bool:
        """Is there another species to tell this one from?"""
        return len(self.holdout) > 1


@dataclass(frozen=True)
class Measurement:
    """Values (m,) with the prompt (m,) each belongs to, or none and a sentence why."""

    values: np.ndarray
    clusters: np.ndarray
    reason: str = ""

    @classmethod
    def missing(cls, reason: str) -> Measurement:
        return cls(np.zeros(0), np.zeros(0, int), reason)
