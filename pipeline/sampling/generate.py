"""Text to image: specs to pictures, with diffusers' own pipeline of the family and a scheduler of `samplers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.records import SampleSpec
from pipeline.diffusion import samplers
from pipeline.families.model_components import Conditioning, ModelComponents
from pipeline.sampling.prompt_grid import check_size

MIN_CONTRAST_LEVELS = 2  # of 255: a picture whose channels vary less than this shows nothing


@torch.inference_mode()
def generate_images(components: ModelComponents, specs: Sequence[SampleSpec]) -> list[Image.Image]:
    """One picture for each spec, computed as one batch: the specs may differ in prompt and seed alone.

    The initial noise is a function of the seed, drawn on the CPU in single precision as A1111 does with `RNG: CPU`:
    the same for every prompt, checkpoint, batch and machine.

    Raises
    ------
    InputError
        When a picture comes out black, of one colour or not a number; the message has its prompt and seed.
    """
    shared = _shared_settings(specs)
    check_size(shared)
    pipe = components.family.pipeline(components, samplers.build(shared.sampler, components.scheduler))
    generators = [torch.Generator().manual_seed(spec.seed) for spec in specs]
    pixels = pipe(
        **_prompt_embeddings(components, specs, pipe),
        generator=generators,
        latents=_initial_noise(components, shared, generators),
        width=shared.width_px,
        height=shared.height_px,
        num_inference_steps=shared.steps,
        guidance_scale=shared.guidance_scale,
        output_type="np",
    ).images
    return [_checked_image(*pair) for pair in zip(pixels, specs, strict=True)]


def _shared_settings(specs: Sequence[SampleSpec]) -> SampleSpec:
    """The first spec, after checking that the others share its settings."""
    shared = {(s.sampler, s.steps, s.guidance_scale, s.width_px, s.height_px, s.negative_prompt) for s in specs}
    if len(shared) != 1:
        raise ValueError(f"a batch shares sampler, steps, guidance, size and negative prompt, not {sorted(shared)}")
    return specs[0]


def _initial_noise(
    components: ModelComponents, spec: SampleSpec, generators: Sequence[torch.Generator]
) -> torch.Tensor:
    """Latents (n, c, h, w) of deviation one, each from its own generator."""
    size = (spec.height_px // components.pixels_per_latent, spec.width_px // components.pixels_per_latent)
    rows = [torch.randn(components.latent_channels, *size, generator=generator) for generator in generators]
    return torch.stack(rows).to(components.device, components.dtype)


def _prompt_embeddings(components: ModelComponents, specs: Sequence[SampleSpec], pipe: Any) -> dict[str, torch.Tensor]:
    """The encoded prompts as the pipeline's arguments; a prompt that several specs share is encoded once."""
    prompts = list(dict.fromkeys(spec.prompt for spec in specs))
    rows = torch.tensor([prompts.index(spec.prompt) for spec in specs], device=components.device)
    positive = components.family.encode_prompt(components, prompts)[rows]
    arguments = _pipeline_arguments("", positive)
    if specs[0].guidance_scale > 1:
        negative = _negative_embeddings(components, specs[0].negative_prompt, positive, pipe)
        arguments |= _pipeline_arguments("negative_", negative)
    return arguments


def _negative_embeddings(components: ModelComponents, text: str, positive: Conditioning, pipe: Any) -> Conditioning:
    """The negative prompt for every row; some families were trained with zeros where there is none."""
    if not text and pipe.config.get("force_zeros_for_empty_prompt"):
        pooled = None if positive.pooled is None else torch.zeros_like(positive.pooled)
        return Conditioning(torch.zeros_like(positive.states), pooled)
    rows = torch.zeros(len(positive.states), dtype=torch.long, device=components.device)
    return components.family.encode_prompt(components, [text])[rows]


def _pipeline_arguments(prefix: str, conditioning: Conditioning) -> dict[str, torch.Tensor]:
    named = {f"{prefix}prompt_embeds": conditioning.states, f"{prefix}pooled_prompt_embeds": conditioning.pooled}
    return {name: value for name, value in named.items() if value is not None}


def _checked_image(pixels: np.ndarray, spec: SampleSpec) -> Image.Image:
    """(h, w, 3) in 0..1 -> a picture that shows something."""
    what = f"the picture for {spec.prompt!r} with seed {spec.seed}"
    if not np.isfinite(pixels).all():
        raise InputError(f"{what} is not a number: the weights have diverged; train with a lower train.learning_rate")
    levels = (pixels * 255).round().astype(np.uint8)
    if np.ptp(levels.reshape(-1, 3), axis=0).max() < MIN_CONTRAST_LEVELS:
        colour = "black" if levels.max() < MIN_CONTRAST_LEVELS else "of one colour"
        raise InputError(
            f"{what} is {colour}; try another sample.sampler or guidance_scale, or train with a lower rate"
        )
    return Image.fromarray(levels)
