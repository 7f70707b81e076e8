"""Embedded pictures with known angles, so that every metric has a known answer."""

from __future__ import annotations

import numpy as np

from pipeline.metrics.evidence import Reference, Samples, Views


def unit(rows) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def around(direction, n: int, spread: float, seed: int = 0) -> np.ndarray:
    """n unit rows scattered about a direction."""
    direction = np.asarray(direction, float)
    return unit(direction + spread * np.random.default_rng(seed).standard_normal((n, len(direction))))


def samples(rows, prompts=None, texts=None) -> Samples:
    rows = unit(rows)
    return Samples(
        rows, rows if texts is None else unit(texts), np.asarray(prompts if prompts is not None else range(len(rows)))
    )


def reference(holdout: dict, train: dict | None = None, species: str = "dodo") -> Reference:
    """Species without mirror images of their own; where no training pictures are given, they are the held-out ones."""
    held_out = {name: Views(unit(rows), unit(rows)) for name, rows in holdout.items()}
    learnt = {name: Views(unit(rows), unit(rows)) for name, rows in (train or holdout).items()}
    names = tuple(f"train/{i}.png" for i in range(len(learnt[species])))
    return Reference(species, held_out, {**held_out, **learnt}, held_out[species].plain, names)
