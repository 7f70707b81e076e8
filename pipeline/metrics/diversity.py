"""Diversity: how different are the pictures of one prompt? A model that has collapsed draws one picture for all seeds.

After the DIV of Ruiz et al. (2023), with CLIP cosines in place of LPIPS, whose backbone is not at hand offline.
"""

from __future__ import annotations

import numpy as np

from pipeline.core.metric_spec import MetricSpec
from pipeline.metrics.inputs import EmbeddedSamples, Embeddings, Reference
from pipeline.metrics.metric import FunctionMetric, Measurement, Metric

SPEC = MetricSpec(
    "diversity",
    title="diversity",
    heading="Diversity",
    label="diversity",
    description="how different the pictures of one prompt are; near 0 they are one",
    per="pair",
    needs=("several seeds",),
)


def diversity(samples: EmbeddedSamples, reference: Reference) -> Measurement:
    """1 - cosine of every pair of pictures of the same prompt; values (pairs,)."""
    prompts = np.unique(samples.prompt_index)
    pairs = [pairwise_distances(samples.pictures[samples.prompt_index == prompt]) for prompt in prompts]
    clusters = [np.full(len(values), prompt) for prompt, values in zip(prompts, pairs, strict=True)]
    return Measurement(np.concatenate(pairs), np.concatenate(clusters))


def real_diversity(reference: Reference) -> np.ndarray:
    """1 - cosine of every pair of held-out pictures: (pairs,)."""
    return pairwise_distances(reference.own_holdout)


def pairwise_distances(rows: Embeddings) -> np.ndarray:
    """(n, d) -> 1 - cosine of each of the n(n-1)/2 pairs."""
    first, second = np.triu_indices(len(rows), k=1)
    return 1 - np.einsum("pd,pd->p", rows[first], rows[second])


METRIC: Metric = FunctionMetric(SPEC, diversity, real=real_diversity)
