"""Measurements of the pre-trained model, on held-out drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from pipeline.pretraining.autoencoder import decode, encode, peak_signal_to_noise_db
from pipeline.pretraining.captions import MEDIA, with_article
from pipeline.pretraining.denoiser import held_out_loss
from pipeline.pretraining.drawings import DrawingSet
from pipeline.pretraining.settings import SampleSettings
from pipeline.vision import clip as vision_clip

ANIMALS = ("bird", "bat", "fish", "lizard", "frog", "flying reptile")
PROMPTS = (
    "a painting of a red bird",
    "a painting of a red bird flying in the sky",
    "a painting of a blue fish swimming in the sea",
    "a green lizard standing in the desert, painting",
    "a painting of a purple bat flying over the river",
    "a yellow frog driving a car in the city",
    "a painting of a brown flying reptile with a long tail with a vane, long jaws and broad wings flying in the forest",
    "a white flying reptile with a short tail, a head crest and long narrow wings flying over the sea",
    "pencil drawn flying reptile with big eyes and a wide mouth standing by the sea",
    "pencil drawn bird flying over the desert",
    "a skeleton of a flying reptile on rock",
    "a red car in the city",
    "Quasipterops flying in the forest",
)


@dataclass(frozen=True)
class Measurements:
    """Numbers by name, and what the page shows."""

    numbers: dict[str, float]
    kinds: tuple[str, ...]
    confusion: np.ndarray
    samples: dict[str, list[Image.Image]]
    held_out: list[Image.Image]
    reconstructed: list[Image.Image]


def measure(folder: Path, held_out: DrawingSet, settings: SampleSettings, seed: int) -> Measurements:
    """Load the folder as any program does, half-precision rounding included, and measure it."""
    pipeline, clip = load_pipeline(folder), vision_clip.load(folder)
    kinds, counts = confusion(clip, held_out)
    latents = encode(pipeline.vae, held_out)
    numbers = {
        "autoencoder_psnr_db": peak_signal_to_noise_db(pipeline.vae, held_out),
        "clip_zero_shot_accuracy": accuracy(counts),
        "denoiser_held_out_loss": held_out_loss(
            pipeline.unet, pipeline.text_encoder, pipeline.tokenizer, latents, held_out, seed
        ),
        "sampled_kind_accuracy": sampled_kind_accuracy(pipeline, clip, kinds, settings),
        "parameters": float(sum(weight.numel() for weight in weights(pipeline, clip))),
    }
    samples = {prompt: sample(pipeline, prompt, settings) for prompt in PROMPTS}
    shown = held_out[: settings.pictures]
    return Measurements(
        numbers,
        tuple(kinds),
        counts,
        samples,
        to_images(shown.pixels(range(len(shown)))),
        to_images(decode(pipeline.vae, latents[: len(shown)])),
    )


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, dtype=torch.float32, safety_checker=None, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def weights(pipeline: StableDiffusionPipeline, clip: vision_clip.Clip) -> list[torch.Tensor]:
    modules = (pipeline.unet, pipeline.vae, pipeline.text_encoder, clip.model)
    return [weight for module in modules for weight in module.parameters()]


def kind_prompts(kinds: Sequence[str]) -> dict[str, list[str]]:
    """An ensemble per kind: "a painting of a bird", "a pencil drawing of a bird"."""
    return {kind: [f"{with_article(medium)} of {with_article(kind)}" for medium in MEDIA.values()] for kind in kinds}


def confusion(clip: vision_clip.Clip, drawings: DrawingSet) -> tuple[list[str], np.ndarray]:
    """Kinds in order, and counts (k, k): rows what was drawn, columns what CLIP calls it."""
    kinds = sorted({each.noun for each in drawings.descriptions})
    images = [Image.fromarray(pixels) for pixels in drawings.images]
    predicted = vision_clip.zero_shot(clip, images, kind_prompts(kinds)).argmax(axis=1)
    counts = np.zeros((len(kinds), len(kinds)), dtype=int)
    np.add.at(counts, ([kinds.index(each.noun) for each in drawings.descriptions], predicted), 1)
    return kinds, counts


def accuracy(counts: np.ndarray) -> float:
    return float(np.trace(counts) / counts.sum())


def sampled_kind_accuracy(
    pipeline: StableDiffusionPipeline, clip: vision_clip.Clip, kinds: Sequence[str], settings: SampleSettings
) -> float:
    """Share of samples for "a painting of a bird" and so on that CLIP classifies as that kind."""
    prompted = [kind for kind in kinds if kind in ANIMALS] or list(kinds)
    correct: list[bool] = []
    for kind in prompted:
        images = sample(pipeline, f"a painting of {with_article(kind)}", settings)
        predicted = vision_clip.zero_shot(clip, images, kind_prompts(kinds)).argmax(axis=1)
        correct += [kinds[index] == kind for index in predicted]
    return float(np.mean(correct))


def sample(pipeline: StableDiffusionPipeline, prompt: str, settings: SampleSettings) -> list[Image.Image]:
    """Pictures of one prompt; every prompt starts from the same noise."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(settings.pictures)]
    return pipeline(
        [prompt] * settings.pictures,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance,
        generator=generators,
    ).images


def to_images(pixels: torch.Tensor) -> list[Image.Image]:
    """(n, 3, h, w) in 0..1 -> pictures."""
    array = (pixels.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return [Image.fromarray(pixels) for pixels in array]
