"""Embedded pictures with known angles, so that every metric has a known answer."""

from __future__ import annotations

import numpy as np

from pipeline.metrics.inputs import CuratedPictures, EmbeddedSamples, Reference


def unit(rows) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def around(direction, n: int, spread: float, seed: int = 0) -> np.ndarray:
    """n unit rows scattered about a direction."""
    direction = np.asarray(direction, float)
    return unit(direction + spread * np.random.default_rng(seed).standard_normal((n, len(direction))))


def samples(rows, prompts=None, texts=None) -> EmbeddedSamples:
    rows = unit(rows)
    return EmbeddedSamples(
        rows, rows if texts is None else unit(texts), np.asarray(prompts if prompts is not None else range(len(rows)))
    )


def reference(holdout: dict, train=None, mirrored=None, species: str = "dodo") -> Reference:
    """Each species with held-out pictures that are their own mirror images; `train`, `mirrored`: of `species`."""
    held_out = {name: CuratedPictures(unit(rows), unit(rows)) for name, rows in holdout.items()}
    own = held_out[species].plain if train is None else unit(train)
    learnt = held_out | {species: CuratedPictures(own, own if mirrored is None else unit(mirrored))}
    names = tuple(f"train/{i}.png" for i in range(len(own)))
    return Reference(species, held_out, learnt, held_out[species].plain, names)
