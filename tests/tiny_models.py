"""Base models with random weights, small enough to train in a test; every file as a downloaded model has it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

CONTEXT = 12
WIDTH = 32
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}


def write_sd(
    folder: Path, *, prediction_type: str = "v_prediction", channels: tuple[int, ...] = (16, 32), openclip: bool = False
) -> Path:
    """A Stable Diffusion of about 100 000 weights for 16 px pictures (latents 4 x 8 x 8); 2.x is one with OpenCLIP."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _unet(channels, cross_attention_dim=WIDTH).save_pretrained(folder / "unet")
        _vae().save_pretrained(folder / "vae")
        tokenizer = _tokenizer(folder / "tokenizer")
        CLIPTextModel(_text_config(tokenizer, openclip=openclip)).save_pretrained(folder / "text_encoder")
    DDIMScheduler(prediction_type=prediction_type, **BETAS).save_pretrained(folder / "scheduler")
    return _index(
        folder,
        "StableDiffusionPipeline",
        {"text_encoder": "CLIPTextModel", "tokenizer": "CLIPTokenizer"}
        | {"safety_checker": None, "feature_extractor": None},
        requires_safety_checker=False,
    )


def write_sdxl(folder: Path, *, second_width: int = WIDTH, prediction_type: str = "epsilon") -> Path:
    """The same with two text encoders, pooled sentences and time ids; XL's encoders differ in width."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _unet(
            (16, 32),
            cross_attention_dim=WIDTH + second_width,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + second_width,
        ).save_pretrained(folder / "unet")
        _vae().save_pretrained(folder / "vae")
        kinds = (("", CLIPTextModel, WIDTH), ("_2", CLIPTextModelWithProjection, second_width))
        for end, kind, width in kinds:
            tokenizer = _tokenizer(folder / f"tokenizer{end}")
            kind(_text_config(tokenizer, width)).save_pretrained(folder / f"text_encoder{end}")
    DDIMScheduler(prediction_type=prediction_type, **BETAS).save_pretrained(folder / "scheduler")
    return _index(
        folder,
        "StableDiffusionXLPipeline",
        {
            "text_encoder": "CLIPTextModel",
            "text_encoder_2": "CLIPTextModelWithProjection",
            "tokenizer": "CLIPTokenizer",
            "tokenizer_2": "CLIPTokenizer",
        }
        | {"feature_extractor": None, "image_encoder": None},
        force_zeros_for_empty_prompt=True,
    )


def _unet(channels: tuple[int, ...], **more) -> UNet2DConditionModel:
    levels = len(channels)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels,
        attention_head_dim=2,
        norm_num_groups=8,
        **more,
    )


def _vae() -> AutoencoderKL:
    """Two pixels to a latent cell, so a picture of 16 px has latents of 8 x 8."""
    return AutoencoderKL(
        block_out_channels=(8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        mid_block_add_attention=False,
        scaling_factor=0.5,
    )


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """One token per letter; the embedded model's comes with learnt merges, which nothing here depends on."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=CONTEXT)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _text_config(tokenizer: CLIPTokenizer, width: int = WIDTH, *, openclip: bool = False) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=CONTEXT,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=width,
        hidden_act="gelu" if openclip else "quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _index(folder: Path, kind: str, transformers_parts: dict[str, str | None], **flags) -> Path:
    parts = {name: [value and "transformers", value] for name, value in transformers_parts.items()}
    own = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "scheduler": "DDIMScheduler"}
    index = {"_class_name": kind, **parts, **{name: ["diffusers", value] for name, value in own.items()}, **flags}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder
