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
from typing import Any

import numpy as np

from pipeline.core.metric_spec import ImageColumn, MetricSpec
from pipeline.metrics.covariance import ledoit_wolf
from pipeline.metrics.inputs import CuratedPictures, EmbeddedSamples, Embeddings, Reference
from pipeline.metrics.metric import FunctionMetric, Measurement, Metric

SPEC = MetricSpec(
    "species_accuracy",
    title="species accuracy",
    heading="Species accuracy",
    label="accuracy",
    description="share nearer to this animal's held-out pictures than to any other's",
    share=True,
    needs=("other species",),
    columns=(
        ImageColumn(
            "species_hit", "hit", "nearer to this animal than to any other", "nearer to another animal", ranks=True
        ),
        ImageColumn("nearest_species", "label", "nearest to"),
    ),
)


def nearest_species(rows: Embeddings, reference: Reference) -> np.ndarray:
    """The nearest species of each picture: (n, d) -> names (n,)."""
    names = np.array(list(reference.holdout))
    return names[distances(rows, reference.holdout, reference.train).argmin(axis=1)]


def species_accuracy(samples: EmbeddedSamples, reference: Reference) -> Measurement:
    """1 for each picture whose nearest species is its own, else 0."""
    hits = nearest_species(samples.pictures, reference) == reference.species
    return Measurement(hits.astype(float), samples.prompt_index)


def real_species_accuracy(reference: Reference) -> np.ndarray:
    """The same for the held-out pictures themselves, each measured as if it were not there: (h,), or none."""
    own = reference.holdout[reference.species]
    if not reference.other_species or len(own) < 2:
        return np.zeros(0)
    position = list(reference.holdout).index(reference.species)
    others = ({**reference.holdout, reference.species: own.without(index)} for index in range(len(own)))
    nearest = [
        distances(row[None], holdout, reference.train).argmin() for row, holdout in zip(own.plain, others, strict=True)
    ]
    return (np.array(nearest) == position).astype(float)


def distances(
    rows: Embeddings, holdout: Mapping[str, CuratedPictures], train: Mapping[str, CuratedPictures]
) -> np.ndarray:
    """Squared Mahalanobis distances (n, k) of rows (n, d) to the k species of `holdout`, in its order."""
    precision = np.linalg.inv(ledoit_wolf(np.concatenate(list(_spread(holdout, train)))))
    means = np.stack([pictures.both.mean(axis=0) for pictures in holdout.values()])
    gaps = rows[:, None].astype(np.float64) - means
    return np.einsum("nkd,de,nke->nk", gaps, precision, gaps, optimize=True)


def _spread(holdout: Mapping[str, CuratedPictures], train: Mapping[str, CuratedPictures]) -> Iterable[np.ndarray]:
    """All pictures of each species, each about its species' mean."""
    for name, held_out in holdout.items():
        rows = np.concatenate([held_out.both, train[name].both])
        yield rows - rows.mean(axis=0)


def columns(samples: EmbeddedSamples, reference: Reference) -> Mapping[str, Any]:
    """Without another species nothing is a hit or a miss."""
    if not reference.other_species:
        return {"species_hit": None, "nearest_species": ""}
    species = nearest_species(samples.pictures, reference)
    return {"species_hit": species == reference.species, "nearest_species": species}


METRIC: Metric = FunctionMetric(SPEC, species_accuracy, real=real_species_accuracy, columns=columns)
