"""Species accuracy: the share of pictures nearer to their own species' held-out pictures than to any other species'.

Near is measured as Fisher (1936) and Mahalanobis did: to the mean of a species' held-out pictures, in units of how much
pictures of one species differ anyway. Drawings differ most by background, medium and pose, which say nothing about the
species: by plain cosines one in five real pictures of the embedded world would be nearer to another species than to its
own, in these units one in twenty.

The differences are learnt from all curated pictures, each about the mean of its own species, so they know nothing of
which species is which; the means are those of held-out pictures alone, so copying training pictures does not help.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from pipeline.metrics.covariance import ledoit_wolf
from pipeline.metrics.embedded import EmbeddedSamples, Measurement, Reference, Rows, Views


def nearest_species(rows: Rows, reference: Reference) -> np.ndarray:
    """The nearest species of each picture: (n, d) -> names (n,)."""
    names = np.array(list(reference.holdout))
    return names[distances(rows, reference.holdout, reference.train).argmin(axis=1)]


def species_accuracy(samples: EmbeddedSamples, reference: Reference) -> Measurement:
    """1 for each picture whose nearest species is its own, else 0."""
    if not reference.can_compare:
        return Measurement.missing("no other species has held-out pictures to compare with")
    hits = nearest_species(samples.rows, reference) == reference.species
    return Measurement(hits.astype(float), samples.prompt_index)


def real_species_accuracy(reference: Reference) -> np.ndarray:
    """The same for the held-out pictures themselves, each measured as if it were not there: (h,), or none."""
    own = reference.holdout[reference.species]
    if not reference.can_compare or len(own) < 2:
        return np.zeros(0)
    position = list(reference.holdout).index(reference.species)
    others = ({**reference.holdout, reference.species: own.without(index)} for index in range(len(own)))
    nearest = [
        distances(row[None], holdout, reference.train).argmin() for row, holdout in zip(own.plain, others, strict=True)
    ]
    return (np.array(nearest) == position).astype(float)


def distances(rows: Rows, holdout: Mapping[str, Views], train: Mapping[str, Views]) -> np.ndarray:
    """Squared Mahalanobis distances (n, k) of rows (n, d) to the k species of `holdout`, in its order."""
    precision = np.linalg.inv(ledoit_wolf(np.concatenate(list(_spread(holdout, train)))))
    means = np.stack([views.both.mean(axis=0) for views in holdout.values()])
    gaps = rows[:, None].astype(np.float64) - means
    return np.einsum("nkd,de,nke->nk", gaps, precision, gaps, optimize=True)


def _spread(holdout: Mapping[str, Views], train: Mapping[str, Views]) -> Iterable[np.ndarray]:
    """All pictures of each species, each about its species' mean."""
    for name, held_out in holdout.items():
        rows = np.concatenate([held_out.both, train[name].both])
        yield rows - rows.mean(axis=0)
