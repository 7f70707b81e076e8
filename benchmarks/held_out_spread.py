"""How far the base model's species accuracy depends on which pictures are held out.

The base has seen none of them, so any others would measure it as well; a fine-tuned model was trained on the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline.core import params as params_module
from pipeline.core.paths import Paths
from pipeline.metrics.inputs import CuratedPictures
from pipeline.metrics.species_accuracy import distances
from pipeline.vision import clip

SPLITS = 100


def base_spread(project: Path) -> dict[str, tuple[float, float]]:
    """By species: the smallest and largest accuracy of the base's samples, in shares of 1.

    It is measured against `SPLITS` random choices of as many held-out pictures as there are, of all that curation kept;
    `project` is one whose demo has run.
    """
    params = params_module.load(project / "params.yaml")
    species, encoder = list(params.species), clip.load(project / params.base.clip)
    curated = {key: _embedded(encoder, Paths(project, key).curated.glob("*/*.png")) for key in species}
    n_held_out = {key: len(list((Paths(project, key).curated / "holdout").glob("*.png"))) for key in species}
    samples = {key: _embedded(encoder, (Paths(project, key).samples / "base").glob("*.png")).plain for key in species}
    found: dict[str, list[float]] = {key: [] for key in species}
    for held_out, rest in _splits(curated, n_held_out):
        for number, key in enumerate(species):
            nearest = distances(samples[key], held_out, rest).argmin(axis=1)
            found[key].append(float((nearest == number).mean()))
    return {key: (min(values), max(values)) for key, values in found.items()}


def _splits(
    curated: Mapping[str, CuratedPictures], n_held_out: Mapping[str, int]
) -> Iterator[tuple[dict[str, CuratedPictures], dict[str, CuratedPictures]]]:
    """Held-out pictures and the rest, `SPLITS` times, the same ones at every call."""
    random = np.random.default_rng(0)
    for _ in range(SPLITS):
        order = {key: random.permutation(len(pictures.plain)) for key, pictures in curated.items()}
        yield (
            {key: _taken(curated[key], chosen[: n_held_out[key]]) for key, chosen in order.items()},
            {key: _taken(curated[key], chosen[n_held_out[key] :]) for key, chosen in order.items()},
        )


def _taken(pictures: CuratedPictures, index: np.ndarray) -> CuratedPictures:
    return CuratedPictures(pictures.plain[index], pictures.mirrored[index])


def _embedded(encoder: clip.Clip, paths: Iterator[Path]) -> CuratedPictures:
    pictures = [Image.open(path).convert("RGB") for path in sorted(paths)]
    mirrored = [ImageOps.mirror(picture) for picture in pictures]
    return CuratedPictures(clip.embed_images(encoder, pictures), clip.embed_images(encoder, mirrored))
