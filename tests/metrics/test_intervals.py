"""Do the intervals cover what they claim to cover?"""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.intervals import cluster_bootstrap, interval, wilson


def _suite(random: np.random.Generator, prompts: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Values with mean 0 whose prompts differ as much as their pictures do."""
    values = random.standard_normal((prompts, 1)) + random.standard_normal((prompts, seeds))
    return values.ravel(), np.repeat(np.arange(prompts), seeds)


def test_whole_prompts_are_resampled_so_the_interval_is_wider_than_over_pictures():
    values, prompts = _suite(np.random.default_rng(0), 25, 4)
    clustered, naive = (np.diff(cluster_bootstrap(values, c, 2000, 0))[0] for c in (prompts, np.arange(100)))
    # sqrt(1 + (4 - 1) rho) with the correlation rho = 1/2 inside a prompt
    assert clustered / naive == pytest.approx(1.58, abs=0.25)


def test_the_clustered_interval_covers_the_truth_and_the_naive_one_does_not():
    random = np.random.default_rng(1)
    covered = np.zeros(2)
    for trial in range(250):
        values, prompts = _suite(random, 25, 4)
        for kind, clusters in enumerate((prompts, np.arange(100))):
            low, high = cluster_bootstrap(values, clusters, 300, trial)
            covered[kind] += low <= 0 <= high
    clustered, naive = covered / 250
    assert clustered > 0.9
    assert naive < 0.85


def test_clusters_of_different_size_are_weighted_by_their_pictures():
    values, clusters = np.array([0, 0, 0, 1.0]), np.array([5, 5, 5, 9])
    assert cluster_bootstrap(values, clusters, 2000, 0) == (0, 1)  # one prompt or the other, or both


def test_one_prompt_gives_no_more_than_its_mean():
    assert cluster_bootstrap(np.array([1.0, 2.0]), np.array([0, 0]), 50, 0) == (1.5, 1.5)


def test_wilson_against_published_values():
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(hits / n, n) == pytest.approx((low, high), abs=5e-5)


def test_twenty_four_hits_of_twenty_four_are_no_certainty():
    low, high = interval(np.ones(24), np.repeat(range(6), 4), share=True, resamples=500, seed=0)
    assert high == pytest.approx(1)
    assert 0.8 < low < 0.9


def test_the_same_seed_gives_the_same_interval():
    values, prompts = _suite(np.random.default_rng(3), 6, 4)
    assert cluster_bootstrap(values, prompts, 300, 7) == cluster_bootstrap(values, prompts, 300, 7)
    assert cluster_bootstrap(values, prompts, 300, 7) != cluster_bootstrap(values, prompts, 300, 8)
