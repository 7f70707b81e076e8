"""Species accuracy: the share of pictures nearer to their own species' held-out pictures than to any other species'.

Near means: the cosine, as seen from the middle of all species, to the mean of a species' held-out pictures. Drawings of
animals have most of their CLIP vector in common; seen from the origin that common part drowns what tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.metrics.evidence import Measured, Reference, Rows, Samples


def nearest_species(rows: Rows, reference: Reference) -> np.ndarray:
    """The nearest species of each picture: (n, d) -> names (n,); there must be at least two species."""
    names = np.array(list(reference.holdout))
    return names[closeness(rows, _means(reference.holdout)).argmax(axis=1)]


def species_accuracy(samples: Samples, reference: Reference) -> Measured:
    """1 for each picture whose nearest species is its own, else 0."""
    if len(reference.holdout) < 2:
        return Measured.missing("no other species has held-out pictures to compare with")
    hits = nearest_species(samples.rows, reference) == reference.species
    return Measured(hits.astype(float), samples.prompt_index)


def real_species_accuracy(reference: Reference) -> np.ndarray:
    """The same for the held-out pictures themselves, each left out of its species' mean: (h,), or none."""
    own = reference.own_holdout
    if len(reference.holdout) < 2 or len(own) < 2:
        return np.zeros(0)
    position = list(reference.holdout).index(reference.species)
    means = np.repeat(_means(reference.holdout)[None], len(own), axis=0)
    means[:, position] = (own.sum(axis=0) - own) / (len(own) - 1)
    nearest = [closeness(row[None], centres).argmax() for row, centres in zip(own, means, strict=True)]
    return (np.array(nearest) == position).astype(float)


def closeness(rows: Rows, means: np.ndarray) -> np.ndarray:
    """Cosines (n, k) of rows (n, d) and species' means (k, d), both seen from the middle of the means."""
    middle = means.mean(axis=0)
    return _unit(rows - middle) @ _unit(means - middle).T


def _means(holdout: Mapping[str, Rows]) -> np.ndarray:
    return np.stack([rows.mean(axis=0) for rows in holdout.values()])


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(rows.dtype).tiny)
