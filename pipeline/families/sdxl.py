"""Stable Diffusion XL: two text encoders, a pooled sentence vector, and the picture's size as a condition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.families import model_folder
from pipeline.families.model_components import (
    Conditioning,
    ModelComponents,
    load_model,
    load_tokenizer,
    read_scheduler,
    tokenise,
)

if TYPE_CHECKING:
    from diffusers import StableDiffusionXLPipeline

NAME = "sdxl"
TRAINED_TEXT_ENCODERS = ("text_encoder", "text_encoder_2")


def load(folder: Path | str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> ModelComponents:
    """Read a local diffusers folder; InputError, before anything is loaded, as `bases.check` says it."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    folder, device = Path(folder), torch.device(device)
    model_folder.check(folder, NAME, TRAINED_TEXT_ENCODERS)
    return ModelComponents(
        family=NAME,
        folder=folder,
        unet=load_model(UNet2DConditionModel, folder, "unet", device, dtype),
        vae=load_model(AutoencoderKL, folder, "vae", device, dtype),
        text_encoders=(
            load_model(CLIPTextModel, folder, "text_encoder", device, dtype),
            load_model(CLIPTextModelWithProjection, folder, "text_encoder_2", device, dtype),
        ),
        tokenizers=(load_tokenizer(folder, "tokenizer"), load_tokenizer(folder, "tokenizer_2")),
        scheduler=read_scheduler(folder),
        device=device,
        dtype=dtype,
    )


def encode_prompt(parts: ModelComponents, prompts: Sequence[str]) -> Conditioning:
    """n prompts -> states (n, context, both widths) and pooled (n, width of the second)."""
    return encode_tokens(parts, tokenise(parts, prompts))


def encode_tokens(parts: ModelComponents, tokens: tuple[torch.Tensor, ...]) -> Conditioning:
    """The second-to-last layer of both encoders side by side; the projected end token of the second."""
    first, second = (
        encoder(ids, output_hidden_states=True) for encoder, ids in zip(parts.text_encoders, tokens, strict=True)
    )
    states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    return Conditioning(states, second.text_embeds)


def predict(
    parts: ModelComponents, noisy: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning
) -> torch.Tensor:
    """The UNet's output (n, c, h, w); without `conditioning.sizes` for pictures that were not scaled or cropped."""
    sizes = time_ids(parts, noisy) if conditioning.sizes is None else conditioning.sizes.to(noisy.dtype)
    added = {"text_embeds": conditioning.pooled, "time_ids": sizes}
    return parts.unet(
        noisy, timesteps, encoder_hidden_states=conditioning.states, added_cond_kwargs=added, return_dict=False
    )[0]


def time_ids(parts: ModelComponents, noisy: torch.Tensor) -> torch.Tensor:
    """(n, 6): original height and width, crop top and left, target height and width, in pixels."""
    height_px, width_px = (edge * parts.pixels_per_latent for edge in noisy.shape[-2:])
    row = [height_px, width_px, 0, 0, height_px, width_px]
    return torch.tensor(row, dtype=noisy.dtype, device=noisy.device).expand(len(noisy), -1)


def pipeline(parts: ModelComponents, scheduler: Any) -> StableDiffusionXLPipeline:
    """diffusers' own pipeline around these parts, for sampling; no watermark, no progress bar."""
    from diffusers import StableDiffusionXLPipeline

    made = StableDiffusionXLPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoders[0],
        text_encoder_2=parts.text_encoders[1],
        tokenizer=parts.tokenizers[0],
        tokenizer_2=parts.tokenizers[1],
        unet=parts.unet,
        scheduler=scheduler,
        add_watermarker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made
