"""Metrics of a checkpoint's pictures. A metric is one file and one line here; it satisfies `metric.Metric`.

The order is that of charts and reports; where `evaluate.primary` cannot be measured, the first one that can be chooses
the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core import registry
from pipeline.core.metric_spec import MetricSpec

if TYPE_CHECKING:  # names are looked up without pandas
    from pipeline.metrics.metric import Metric

METRICS: dict[str, str] = {
    "species_accuracy": "pipeline.metrics.species_accuracy:METRIC",
    "clip_i": "pipeline.metrics.clip_i:METRIC",
    "clip_t": "pipeline.metrics.clip_t:METRIC",
    "diversity": "pipeline.metrics.diversity:METRIC",
    "nearest_train": "pipeline.metrics.nearest_train:METRIC",
    "memorised": "pipeline.metrics.memorised:METRIC",
}


def all_metrics() -> dict[str, Metric]:
    """Every metric by its name, in the order of `METRICS`."""
    return {name: registry.plugin(entry) for name, entry in METRICS.items()}


def all_specs() -> dict[str, MetricSpec]:
    """What is said about every metric, in the order of `METRICS`."""
    return {name: metric.spec for name, metric in all_metrics().items()}
