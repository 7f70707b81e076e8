"""95 % intervals. Pictures of one prompt resemble each other, so whole prompts are resampled, not pictures:
with four seeds a prompt, an interval over pictures covers the truth in 81 to 84 % of the cases instead of 95 %.
"""

from __future__ import annotations

import numpy as np

LEVEL = 0.95
Z = 1.959963984540054  # two-sided 95 % of the normal law


def cluster_bootstrap(values: np.ndarray, clusters: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """Percentile interval of the mean of `values` (n,) when whole `clusters` (n,) are drawn with replacement."""
    _, position = np.unique(clusters, return_inverse=True)
    sums, counts = np.bincount(position, weights=values), np.bincount(position)
    draws = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile((draws @ sums) / (draws @ counts), [tail, 1 - tail])
    return float(low), float(high)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Interval of a share of `n` independent pictures (Wilson 1927); never empty, also at 0 and at 1."""
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def interval(
    values: np.ndarray, clusters: np.ndarray, *, share: bool, resamples: int, seed: int
) -> tuple[float, float]:
    """The clustered interval; for a share, at least as wide as Wilson's.

    When every picture is a hit, every resample is too: the bootstrap alone would claim certainty from 24 pictures.
    """
    low, high = cluster_bootstrap(values, clusters, resamples, seed)
    if not share:
        return low, high
    wilson_low, wilson_high = wilson(float(values.mean()), len(values))
    return min(low, wilson_low), max(high, wilson_high)
