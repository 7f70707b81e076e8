"""Contrastive pre-training of a small CLIP (Radford et al. 2021) on the drawings and their captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from pipeline.pretraining.captions import caption_in_style, made_up_name, random_key
from pipeline.pretraining.drawings import DrawingSet, generator_at, random_flip, random_rows
from pipeline.pretraining.optimisation import OnProgress, Optimisation, optimise
from pipeline.pretraining.settings import ClipSettings, TextSettings
from pipeline.vision.clip import OPENAI_MEAN, OPENAI_STD, Clip, Preprocessing, normalise

# Probabilities of the caption styles. A batch has one style: with mixed ones "a bird" would count as a wrong caption of
# a bird described at length. The first cycle trains mostly on full captions, later ones more on short prompts.
FIRST_CYCLE_STYLES = {"full": 0.45, "parts": 0.2, "medium": 0.12, "noun": 0.08, "place": 0.1, "name": 0.05}
LATER_STYLES = {"full": 0.3, "parts": 0.27, "medium": 0.2, "noun": 0.13, "place": 0.07, "name": 0.03}


def preprocessing(image_px: int) -> Preprocessing:
    return Preprocessing(image_px, image_px, OPENAI_MEAN, OPENAI_STD)


def build(settings: ClipSettings, text: TextSettings, tokenizer: CLIPTokenizer, image_px: int, seed: int) -> CLIPModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CLIPModel(
            CLIPConfig(
                projection_dim=settings.projection,
                text_config=text_config(text, tokenizer) | {"projection_dim": settings.projection},
                vision_config={
                    "image_size": image_px,
                    "patch_size": settings.patch_px,
                    "hidden_size": settings.width,
                    "intermediate_size": settings.inner,
                    "num_hidden_layers": settings.layers,
                    "num_attention_heads": settings.heads,
                    "projection_dim": settings.projection,
                },
            )
        )


def text_config(text: TextSettings, tokenizer: CLIPTokenizer) -> dict:
    return {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": text.context,
        "hidden_size": text.width,
        "intermediate_size": text.inner,
        "num_hidden_layers": text.layers,
        "num_attention_heads": text.heads,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def train(
    drawings: DrawingSet,
    tokenizer: CLIPTokenizer,
    settings: ClipSettings,
    text: TextSettings,
    seed: int,
    state_file: Path,
    on_progress: OnProgress,
) -> tuple[Clip, list[dict[str, float]]]:
    """The trained model, ready to use, and its losses."""
    preparation = preprocessing(drawings.images.shape[1])
    model = build(settings, text, tokenizer, preparation.crop_px, seed)
    work = Optimisation("clip", nn.ModuleDict({"clip": model}), settings.phase)

    def losses_at(step: int) -> dict[str, torch.Tensor]:
        generator = generator_at(seed, "clip", step)
        rows = random_rows(len(drawings), settings.phase.batch, generator)
        is_first_cycle = step * settings.phase.cycles < settings.phase.steps
        style = random_key(FIRST_CYCLE_STYLES if is_first_cycle else LATER_STYLES, generator)
        name = made_up_name(generator)
        sentences = [caption_in_style(drawings.descriptions[row], style, generator, name) for row in rows]
        pixels = normalise(augment(drawings.pixels(rows), generator), preparation)
        return losses(model, pixels, tokenizer, sentences)

    optimise(work, losses_at, state_file, on_progress)
    return Clip(model.requires_grad_(False), tokenizer, preparation), work.losses


def losses(
    model: CLIPModel, pixels: torch.Tensor, tokenizer: CLIPTokenizer, sentences: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Symmetric cross-entropy over the batch; equal sentences share the probability."""
    tokens = tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt")
    output = model(pixel_values=pixels, input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
    targets = target_probabilities(sentences)
    by_image, by_text = (
        -(targets * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
        for logits in (output.logits_per_image, output.logits_per_text)
    )
    hit = targets.gather(1, output.logits_per_image.argmax(dim=1, keepdim=True)) > 0
    return {"loss": (by_image + by_text) / 2, "accuracy": hit.float().mean()}


def target_probabilities(sentences: Sequence[str]) -> torch.Tensor:
    """(n, n): each row is spread over the equal sentences."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(sentences))}
    labels = torch.tensor([numbers[text] for text in sentences])
    equal = (labels[:, None] == labels[None, :]).float()
    return equal / equal.sum(dim=1, keepdim=True)


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(n, 3, h, w) in 0..1: mirrored, cropped and in other light at random; a tenth of them grey."""
    pixels = colour_jitter(random_crop(random_flip(pixels, generator), generator), generator)
    grey = (torch.rand(len(pixels), generator=generator) < 0.1).view(-1, 1, 1, 1)
    return torch.where(grey, pixels.mean(dim=1, keepdim=True).expand_as(pixels), pixels).clamp(0, 1)


def random_crop(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Zoom and shift that keep at least 80 % of each edge."""
    count = len(pixels)
    zoom = 1 - 0.2 * torch.rand(count, generator=generator)
    offset = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - zoom)[:, None]
    frame = torch.zeros(count, 2, 3)
    frame[:, 0, 0] = frame[:, 1, 1] = zoom
    frame[:, :, 2] = offset
    grid = F.affine_grid(frame, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def colour_jitter(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Brightness and contrast within 15 %, each colour channel within 8 %."""
    count = len(pixels)
    gain = 1 + 0.15 * (torch.rand(count, 1, 1, 1, generator=generator) * 2 - 1)
    tint = 1 + 0.08 * (torch.rand(count, 3, 1, 1, generator=generator) * 2 - 1)
    shift = 0.1 * (torch.rand(count, 1, 1, 1, generator=generator) * 2 - 1)
    return pixels * gain * tint + shift
