"""What a checkpoint's pictures are worth. A metric is one file and one line here.

`measure` gives the values of a checkpoint's pictures, `real` those of the held-out pictures themselves: what a perfect
model would reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.core.records import Score
from pipeline.metrics.clip_i import clip_i, real_clip_i
from pipeline.metrics.clip_t import clip_t, real_clip_t
from pipeline.metrics.diversity import diversity, real_diversity
from pipeline.metrics.embedded import EmbeddedSamples, Measurement, Reference
from pipeline.metrics.intervals import interval
from pipeline.metrics.nearest_train import memorised, nearest_train, real_nearest_train
from pipeline.metrics.species_accuracy import real_species_accuracy, species_accuracy


@dataclass(frozen=True)
class Metric:
    """`share`: its values are 0 or 1, so its mean is a share of the pictures."""

    title: str
    better: Literal["higher", "lower"]
    measure: Callable[[EmbeddedSamples, Reference], Measurement]
    real: Callable[[Reference], np.ndarray] | None = None
    share: bool = False

    def text(self, value: float) -> str:
        """The value as people read it: `92 %` or `0.873`."""
        return f"{100 * value:.0f} %" if self.share else f"{value:.3f}"


METRICS: dict[str, Metric] = {
    "species_accuracy": Metric("species accuracy", "higher", species_accuracy, real_species_accuracy, share=True),
    "clip_t": Metric("CLIP-T", "higher", clip_t, real_clip_t),
    "clip_i": Metric("CLIP-I", "higher", clip_i, real_clip_i),
    "diversity": Metric("diversity", "higher", diversity, real_diversity),
    "nearest_train": Metric("nearest training picture", "lower", nearest_train, real_nearest_train),
    "memorised": Metric("memorised", "lower", memorised, share=True),
}


def score(name: str, samples: EmbeddedSamples, reference: Reference, *, resamples: int, seed: int) -> Score | str:
    """One metric of one checkpoint with its interval, or a sentence why there is none."""
    metric = METRICS[name]
    measured = metric.measure(samples, reference)
    if measured.reason:
        return measured.reason
    values, clusters = measured.values.astype(np.float64), measured.clusters
    bounds = interval(values, clusters, share=metric.share, resamples=resamples, seed=seed)
    return Score(name, float(values.mean()), len(values), metric.better, bounds)


def gain(
    name: str, new: EmbeddedSamples, old: EmbeddedSamples, reference: Reference, *, resamples: int, seed: int
) -> Score:
    """By how much `new` beats `old`, picture by picture: both hold the same prompts and seeds in the same order."""
    measure = METRICS[name].measure
    after, before = measure(new, reference), measure(old, reference)
    values = after.values.astype(np.float64) - before.values
    bounds = interval(values, after.clusters, share=False, resamples=resamples, seed=seed)
    return Score(f"{name}_gain", float(values.mean()), len(values), METRICS[name].better, bounds)


def real_values(reference: Reference) -> dict[str, float]:
    """What the held-out pictures themselves reach, for every metric that can say so."""
    measured = {name: metric.real(reference) for name, metric in METRICS.items() if metric.real}
    return {name: float(values.mean()) for name, values in measured.items() if len(values)}
