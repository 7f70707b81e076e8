"""Memorisation: how near is each picture to the nearest training picture, or to its mirror image?

With tens of training pictures no global statistic finds copies; a threshold from the data does (section "copies" of
Stein et al. 2023): nearer than 99 % of the held-out pictures are to theirs.
"""

from __future__ import annotations

import numpy as np

from pipeline.metrics.embedded import EmbeddedSamples, Measurement, Reference, Rows

QUANTILE = 0.99


def nearest(rows: Rows, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) -> index (n,) of the nearest training picture, and the cosine (n,) to it or to its mirror image."""
    cosines = np.maximum(rows @ reference.own_train.plain.T, rows @ reference.own_train.mirrored.T)
    index = cosines.argmax(axis=1)
    return index, cosines[np.arange(len(rows)), index]


def threshold(reference: Reference) -> float:
    """The cosine that 99 % of the held-out pictures stay below."""
    return float(np.quantile(real_nearest_train(reference), QUANTILE))


def nearest_train(samples: EmbeddedSamples, reference: Reference) -> Measurement:
    """Cosine of each picture to the nearest training picture."""
    return Measurement(nearest(samples.rows, reference)[1], samples.prompt_index)


def real_nearest_train(reference: Reference) -> np.ndarray:
    """Cosine of each held-out picture to the nearest training picture: (h,)."""
    return nearest(reference.own_holdout, reference)[1]


def memorised(samples: EmbeddedSamples, reference: Reference) -> Measurement:
    """1 for each picture that is nearer to a training picture than held-out pictures are, else 0."""
    flags = nearest(samples.rows, reference)[1] > threshold(reference)
    return Measurement(flags.astype(float), samples.prompt_index)
