"""A covariance from fewer pictures than dimensions (Ledoit and Wolf 2004, "A well-conditioned estimator …")."""

from __future__ import annotations

import numpy as np

LEAST_SHARE = 0.01  # of the ball: two pictures alone would otherwise make every other direction infinitely telling
SMALLEST = 1e-12  # variance of unit vectors; below it rows are the same but for rounding


def ledoit_wolf(centred: np.ndarray) -> np.ndarray:
    """Rows (n, d) of mean zero -> (d, d): their covariance, drawn towards a ball as far as their number demands."""
    centred = centred.astype(np.float64)
    n, d = centred.shape
    covariance = centred.T @ centred / n
    mean_variance = max(np.trace(covariance) / d, SMALLEST)
    ball = mean_variance * np.eye(d)
    distance = ((covariance - ball) ** 2).sum() / d
    noise = ((np.square(centred).sum(axis=1) ** 2).sum() / n - np.square(covariance).sum()) / (n * d)
    share = min(1.0, max(LEAST_SHARE, noise / distance)) if distance > 0 else 1.0
    return (1 - share) * covariance + share * ball
