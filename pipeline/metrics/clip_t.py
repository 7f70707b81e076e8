"""CLIP-T: does the picture show what the prompt says? (Ruiz et al. 2023, DreamBooth)

The scored text has the class noun where the prompt has the species' name: CLIP has never read that name, and an
unknown word only lowers the cosine of every picture alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.core.metric_spec import ImageColumn, MetricSpec
from pipeline.metrics.inputs import EmbeddedSamples, Reference
from pipeline.metrics.metric import FunctionMetric, Measurement, Metric

SPEC = MetricSpec(
    "clip_t",
    title="CLIP-T",
    heading="Prompt fidelity (CLIP-T)",
    label="CLIP-T",
    description="cosine to the prompt; higher is closer to its words",
    columns=(ImageColumn("clip_t"),),
)


def clip_t(samples: EmbeddedSamples, reference: Reference) -> Measurement:
    """Cosine of each picture with its text; a raw cosine, not CLIPScore's 2.5 times it."""
    return Measurement(np.einsum("nd,nd->n", samples.pictures, samples.texts), samples.prompt_index)


def real_clip_t(reference: Reference) -> np.ndarray:
    """Cosine of each held-out picture with its caption: (h,)."""
    return np.einsum("hd,hd->h", reference.own_holdout, reference.holdout_texts)


def columns(samples: EmbeddedSamples, reference: Reference) -> Mapping[str, np.ndarray]:
    return {"clip_t": clip_t(samples, reference).values}


METRIC: Metric = FunctionMetric(SPEC, clip_t, real=real_clip_t, columns=columns)
