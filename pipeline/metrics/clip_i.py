"""CLIP-I: does the picture look like the species' held-out pictures? (Ruiz et al. 2023, DreamBooth)

Held out means never trained on: a model that copies its training pictures does not win here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.core.metric_spec import ImageColumn, MetricSpec
from pipeline.metrics.inputs import EmbeddedSamples, Embeddings, Reference
from pipeline.metrics.metric import FunctionMetric, Measurement, Metric

SPEC = MetricSpec(
    "clip_i",
    title="CLIP-I",
    heading="Likeness (CLIP-I)",
    label="CLIP-I",
    description="cosine to the held-out pictures; higher is more alike",
    columns=(ImageColumn("clip_i", in_table=True, ranks=True),),
)


def clip_i(samples: EmbeddedSamples, reference: Reference) -> Measurement:
    """Mean cosine of each picture to all held-out ones, which is its dot product with their mean vector."""
    return Measurement(samples.pictures @ reference.own_holdout.mean(axis=0), samples.prompt_index)


def real_clip_i(reference: Reference) -> np.ndarray:
    """The same for the held-out pictures themselves, each against the others: (h,), or none for one picture."""
    return leave_one_out_means(reference.own_holdout)


def leave_one_out_means(rows: Embeddings) -> np.ndarray:
    """Mean cosine of each row to the other rows: (n, d) -> (n,); empty for a single row."""
    if len(rows) < 2:
        return np.zeros(0)
    cosines = rows @ rows.T
    return (cosines.sum(axis=1) - np.diagonal(cosines)) / (len(rows) - 1)


def columns(samples: EmbeddedSamples, reference: Reference) -> Mapping[str, np.ndarray]:
    return {"clip_i": clip_i(samples, reference).values}


METRIC: Metric = FunctionMetric(SPEC, clip_i, real=real_clip_i, columns=columns)
