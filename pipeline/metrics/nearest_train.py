"""How near is each picture to the nearest training picture, or to its mirror image?

With tens of training pictures no global statistic finds copies; the distance to the nearest one does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.core.metric_spec import ImageColumn, MetricSpec
from pipeline.metrics.inputs import EmbeddedSamples, Embeddings, Reference
from pipeline.metrics.metric import FunctionMetric, Measurement, Metric

SPEC = MetricSpec(
    "nearest_train",
    title="nearest training picture",
    heading="Nearest training picture",
    label="nearest",
    description="cosine to it; near 1 the model copies",
    direction="lower",
    in_report=False,
    columns=(ImageColumn("nearest_train", "training_picture", cosine="nearest_train_cosine"),),
)


def nearest(rows: Embeddings, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) -> index (n,) of the nearest training picture, and the cosine (n,) to it or to its mirror image."""
    cosines = np.maximum(rows @ reference.own_train.plain.T, rows @ reference.own_train.mirrored.T)
    index = cosines.argmax(axis=1)
    return index, cosines[np.arange(len(rows)), index]


def nearest_train(samples: EmbeddedSamples, reference: Reference) -> Measurement:
    """Cosine of each picture to the nearest training picture."""
    return Measurement(nearest(samples.pictures, reference)[1], samples.prompt_index)


def real_nearest_train(reference: Reference) -> np.ndarray:
    """Cosine of each held-out picture to the nearest training picture: (h,)."""
    return nearest(reference.own_holdout, reference)[1]


def columns(samples: EmbeddedSamples, reference: Reference) -> Mapping[str, Any]:
    index, cosine = nearest(samples.pictures, reference)
    return {"nearest_train": [reference.train_names[i] for i in index], "nearest_train_cosine": cosine}


METRIC: Metric = FunctionMetric(SPEC, nearest_train, real=real_nearest_train, columns=columns)
