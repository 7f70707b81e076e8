"""Inputs of the metrics: embedded samples, and embedded curated pictures to compare them with.

All embeddings are unit vectors of one CLIP, so a dot product is a cosine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Embeddings = np.ndarray  # (n, d) float32, each of length one


@dataclass(frozen=True)
class EmbeddedSamples:
    """Pictures of one checkpoint: `pictures` (n, d), the text that each is scored with (n, d), its prompt (n,)."""

    pictures: Embeddings
    texts: Embeddings
    prompt_index: np.ndarray

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, chosen: np.ndarray) -> EmbeddedSamples:
        """The pictures where `chosen` (n,) is true."""
        return EmbeddedSamples(self.pictures[chosen], self.texts[chosen], self.prompt_index[chosen])


@dataclass(frozen=True)
class CuratedPictures:
    """Curated pictures and their mirror images, in the same order: each is (n, d)."""

    plain: Embeddings
    mirrored: Embeddings

    def __len__(self) -> int:
        return len(self.plain)

    @property
    def both(self) -> Embeddings:
        """(2n, d)."""
        return np.concatenate([self.plain, self.mirrored])

    def without(self, index: int) -> CuratedPictures:
        """All but one picture."""
        return CuratedPictures(np.delete(self.plain, index, axis=0), np.delete(self.mirrored, index, axis=0))


@dataclass(frozen=True)
class Reference:
    """The curated pictures of every species; of the measured one also its captions and its training pictures' names."""

    species: str
    holdout: Mapping[str, CuratedPictures]
    train: Mapping[str, CuratedPictures]
    holdout_texts: Embeddings
    train_names: tuple[str, ...]

    @property
    def own_holdout(self) -> Embeddings:
        """(h, d), not mirrored."""
        return self.holdout[self.species].plain

    @property
    def own_train(self) -> CuratedPictures:
        return self.train[self.species]

    @property
    def other_species(self) -> tuple[str, ...]:
        """Those with held-out pictures."""
        return tuple(name for name in self.holdout if name != self.species)


@dataclass(frozen=True)
class Input:
    """Something that a metric may need, and the sentence when it is missing."""

    is_there: Callable[[EmbeddedSamples, Reference], bool]
    missing: str


def _has_several_seeds(samples: EmbeddedSamples, _: Reference) -> bool:
    return len(np.unique(samples.prompt_index)) < len(samples)


INPUTS: dict[str, Input] = {
    "other species": Input(
        lambda _, reference: bool(reference.other_species), "no other species has held-out pictures to compare with"
    ),
    "several seeds": Input(
        _has_several_seeds, "there is one picture for each prompt; give `sample.seeds` at least two"
    ),
}
