"""What the finished folder can do, measured on drawings that training has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from pipeline.families import clip as clip_family
from pipeline.training.pretraining.autoencoder import decode, encode
from pipeline.training.pretraining.drawings import MEDIA, DrawingSet, a


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, safety_checker=None,
                                                       local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def kind_prompts(kinds: Sequence[str]) -> dict[str, list[str]]:
    """An ensemble per kind: "a painting of a bird", "a pencil drawing of a bird"."""
    return {kind: [f"{a(medium)} of {a(kind)}" for medium in MEDIA.values()] for kind in kinds}


def confusion(clip: clip_family.Clip, drawings: DrawingSet) -> tuple[list[str], np.ndarray]:
    """Kinds in order, and counts (k, k): rows what was drawn, columns what CLIP calls it."""
    kinds = sorted({words.noun for words in drawings.words})
    images = [Image.fromarray(square) for square in drawings.squares]
    answers = clip_family.zero_shot(clip, images, kind_prompts(kinds)).argmax(axis=1)
    counts = np.zeros((len(kinds), len(kinds)), dtype=int)
    np.add.at(counts, ([kinds.index(words.noun) for words in drawings.words], answers), 1)
    return kinds, counts


def accuracy(counts: np.ndarray) -> float:
    return float(np.trace(counts) / counts.sum())


def reconstructions(vae, drawings: DrawingSet) -> list[Image.Image]:
    return to_images(decode(vae, encode(vae, drawings)))


def sample(pipeline: StableDiffusionPipeline, prompts: Sequence[str], seeds: Sequence[int], steps: int = 25,
           guidance: float = 4.0) -> list[Image.Image]:
    """One picture per prompt and seed; every prompt is drawn from the same noises."""
    images = []
    for prompt in prompts:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        images += pipeline([prompt] * len(seeds), num_inference_steps=steps, guidance_scale=guidance,
                           generator=generators).images
    return images


def sampled_kinds(clip: clip_family.Clip, images: Sequence[Image.Image], wanted: Sequence[str],
                  prompts_by_kind: dict[str, list[str]]) -> float:
    """Share of samples that CLIP calls what they were asked to be."""
    answers = clip_family.zero_shot(clip, images, prompts_by_kind).argmax(axis=1)
    kinds = list(prompts_by_kind)
    return float(np.mean([kinds[answer] == kind for answer, kind in zip(answers, wanted, strict=True)]))


def to_images(pixels: torch.Tensor) -> list[Image.Image]:
    """(n, 3, h, w) in 0..1 -> pictures."""
    array = (pixels.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return [Image.fromarray(square) for square in array]
