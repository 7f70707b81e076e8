"""Scores: the mean of a metric with its interval, and the gain of one checkpoint over another."""

from __future__ import annotations

import numpy as np

from pipeline.core.records import Score
from pipeline.metrics.inputs import INPUTS, EmbeddedSamples, Reference
from pipeline.metrics.intervals import interval
from pipeline.metrics.metric import Metric


def missing_input(metric: Metric, samples: EmbeddedSamples, reference: Reference) -> str:
    """Why the metric cannot be measured; empty when everything that it needs is there."""
    needed = [INPUTS[name] for name in metric.spec.needs]
    return next((each.missing for each in needed if not each.is_there(samples, reference)), "")


def score(metric: Metric, samples: EmbeddedSamples, reference: Reference, *, resamples: int, seed: int) -> Score:
    """One metric of one checkpoint with its 95 % interval."""
    spec, measured = metric.spec, metric.measure(samples, reference)
    values = measured.values.astype(np.float64)
    bounds = interval(values, measured.clusters, share=spec.share, resamples=resamples, seed=seed)
    return Score(spec.name, float(values.mean()), len(values), spec.direction, bounds)


def gain(
    metric: Metric, new: EmbeddedSamples, old: EmbeddedSamples, reference: Reference, *, resamples: int, seed: int
) -> Score:
    """The mean difference `new` - `old`, picture by picture: both hold the same prompts and seeds in the same order."""
    after, before = metric.measure(new, reference), metric.measure(old, reference)
    values = after.values.astype(np.float64) - before.values
    bounds = interval(values, after.clusters, share=False, resamples=resamples, seed=seed)
    return Score(f"{metric.spec.name}_gain", float(values.mean()), len(values), metric.spec.direction, bounds)
