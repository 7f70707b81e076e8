"""Memorisation: the share of pictures that are copies of a training picture.

A copy is nearer to a training picture than 99 % of the held-out pictures are to theirs: the threshold comes from the
data (section "copies" of Stein et al. 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.metric_spec import ImageColumn, MetricSpec
from pipeline.metrics.inputs import EmbeddedSamples, Reference
from pipeline.metrics.metric import FunctionMetric, Measurement, Metric
from pipeline.metrics.nearest_train import nearest, real_nearest_train

QUANTILE = 0.99
SPEC = MetricSpec(
    "memorised",
    title="memorised",
    heading="Copies",
    label="copies",
    description="share nearer to a training picture than held-out ones are",
    direction="lower",
    share=True,
    columns=(
        ImageColumn(
            "memorised", "flag", "looks copied", "nearer to a training picture than held-out ones are", in_table=True
        ),
    ),
)


def threshold(reference: Reference) -> float:
    """The cosine that 99 % of the held-out pictures stay below."""
    return float(np.quantile(real_nearest_train(reference), QUANTILE))


def memorised(samples: EmbeddedSamples, reference: Reference) -> Measurement:
    """1 for each picture that is nearer to a training picture than held-out pictures are, else 0."""
    return Measurement(_are_copies(samples, reference).astype(float), samples.prompt_index)


def columns(samples: EmbeddedSamples, reference: Reference) -> Mapping[str, np.ndarray]:
    return {"memorised": _are_copies(samples, reference)}


def details(images: pd.DataFrame, reference: Reference) -> Mapping[str, Any]:
    """The threshold, and the files of the chosen step above it."""
    copies = images.loc[images["memorised"], "file_name"].tolist()
    return {"memorised_above": threshold(reference), "memorised": copies}


def _are_copies(samples: EmbeddedSamples, reference: Reference) -> np.ndarray:
    return nearest(samples.pictures, reference)[1] > threshold(reference)


METRIC: Metric = FunctionMetric(SPEC, memorised, columns=columns, details=details)
