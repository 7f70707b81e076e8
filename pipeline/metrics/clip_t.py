"""CLIP-T: does the picture show what the prompt says? (Ruiz et al. 2023, DreamBooth)

The scored text has the class noun where the prompt has the species' name: CLIP has never read that name, and an
unknown word only lowers the cosine of every picture alike.
"""

from __future__ import annotations

import numpy as np

from pipeline.metrics.embedded import EmbeddedSamples, Measurement, Reference


def clip_t(samples: EmbeddedSamples, reference: Reference) -> Measurement:
    """Cosine of each picture with its text; a raw cosine, not CLIPScore's 2.5 times it."""
    return Measurement(np.einsum("nd,nd->n", samples.rows, samples.texts), samples.prompt_index)


def real_clip_t(reference: Reference) -> np.ndarray:
    """Cosine of each held-out picture with its caption: (h,)."""
    return np.einsum("hd,hd->h", reference.own_holdout, reference.holdout_texts)
