"""Stable Diffusion 1.x and 2.x, and every model with the same parts: one CLIP text encoder, one UNet.

Nothing about a particular model is written here: widths, latent scale and prediction type are in its own configs.
diffusers and transformers are imported when a model is loaded, so that asking for a family's name costs nothing.
"""

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
    from diffusers import StableDiffusionPipeline

NAME = "sd"
TRAINED_TEXT_ENCODERS = ("text_encoder",)


def load(folder: Path | str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> ModelComponents:
    """Read a local diffusers folder; InputError, before anything is loaded, as `bases.check` says it."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    folder, device = Path(folder), torch.device(device)
    model_folder.check(folder, NAME, TRAINED_TEXT_ENCODERS)
    return ModelComponents(
        family=NAME,
        folder=folder,
        unet=load_model(UNet2DConditionModel, folder, "unet", device, dtype),
        vae=load_model(AutoencoderKL, folder, "vae", device, dtype),
        text_encoders=(load_model(CLIPTextModel, folder, "text_encoder", device, dtype),),
        tokenizers=(load_tokenizer(folder, "tokenizer"),),
        scheduler=read_scheduler(folder),
        device=device,
        dtype=dtype,
    )


def encode_prompt(parts: ModelComponents, prompts: Sequence[str]) -> Conditioning:
    """n prompts -> states (n, context, width); gradients flow into a text encoder that is trained."""
    return encode_tokens(parts, tokenise(parts, prompts))


def encode_tokens(parts: ModelComponents, tokens: tuple[torch.Tensor, ...]) -> Conditioning:
    """Ids (n, context) -> states, without an attention mask, as Stable Diffusion was trained."""
    return Conditioning(parts.text_encoders[0](tokens[0]).last_hidden_state)


def predict(
    parts: ModelComponents, noisy: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning
) -> torch.Tensor:
    """The UNet's output (n, c, h, w): noise or velocity, as the scheduler's prediction type says."""
    return parts.unet(noisy, timesteps, encoder_hidden_states=conditioning.states, return_dict=False)[0]


def pipeline(parts: ModelComponents, scheduler: Any) -> StableDiffusionPipeline:
    """diffusers' own pipeline around these parts, for sampling; no safety checker, no progress bar."""
    from diffusers import StableDiffusionPipeline

    made = StableDiffusionPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoders[0],
        tokenizer=parts.tokenizers[0],
        unet=parts.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made
