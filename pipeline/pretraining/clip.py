"""Pictures and sentences in one space: a small CLIP (Radford et al. 2021) from the drawings alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from pipeline.pretraining import progress
from pipeline.pretraining.drawings import DrawingSet, batch_at, flip, generator_at, made_up_name, pick, sentence
from pipeline.pretraining.settings import ClipSettings, TextSettings
from pipeline.vision.clip import OPENAI_MEAN, OPENAI_STD, Clip, Preprocessing, normalise

# A batch speaks in one style: with mixed ones "a bird" would be a wrong answer to a bird described at length.
# The first cycle learns mostly from whole captions, later ones more from the few words that people ask with.
LONG = {"full": 0.45, "parts": 0.2, "medium": 0.12, "noun": 0.08, "place": 0.1, "name": 0.05}
SHORT = {"full": 0.3, "parts": 0.27, "medium": 0.2, "noun": 0.13, "place": 0.07, "name": 0.03}


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
    report: progress.Report,
) -> tuple[Clip, list[dict[str, float]]]:
    """The trained model, ready to use, and its losses."""
    look = preprocessing(drawings.squares.shape[1])
    model = build(settings, text, tokenizer, look.crop_px, seed)
    work = progress.Optimisation("clip", nn.ModuleDict({"clip": model}), settings.phase)

    def losses_at(step: int) -> dict[str, torch.Tensor]:
        generator = generator_at(seed, "clip", step)
        rows = batch_at(len(drawings), settings.phase.batch, generator)
        styles = LONG if step * settings.phase.cycles < settings.phase.steps else SHORT
        style, name = pick(styles, generator), made_up_name(generator)
        sentences = [sentence(drawings.words[row], style, generator, name) for row in rows]
        pixels = normalise(augment(drawings.pixels(rows), generator), look)
        return losses(model, pixels, tokenizer, sentences)

    progress.run(work, losses_at, state_file, report)
    return Clip(model.requires_grad_(False), tokenizer, look), work.losses


def losses(model: CLIPModel, pixels: torch.Tensor, tokenizer: CLIPTokenizer, sentences: Sequence[str]) -> dict:
    """Symmetric cross-entropy over the batch; equal sentences share the probability."""
    tokens = tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt")
    output = model(pixel_values=pixels, input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
    targets = same_sentence(sentences)
    by_image, by_text = (
        -(targets * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
        for logits in (output.logits_per_image, output.logits_per_text)
    )
    hit = targets.gather(1, output.logits_per_image.argmax(dim=1, keepdim=True)) > 0
    return {"loss": (by_image + by_text) / 2, "accuracy": hit.float().mean()}


def same_sentence(sentences: Sequence[str]) -> torch.Tensor:
    """(n, n) target probabilities: each row is spread over the equal sentences."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(sentences))}
    labels = torch.tensor([numbers[text] for text in sentences])
    equal = (labels[:, None] == labels[None, :]).float()
    return equal / equal.sum(dim=1, keepdim=True)


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(n, 3, h, w) in 0..1: mirrored, shifted and zoomed a little, other light; a tenth of them grey."""
    pixels = jitter(shift_and_zoom(flip(pixels, generator), generator), generator)
    grey = (torch.rand(len(pixels), generator=generator) < 0.1).view(-1, 1, 1, 1)
    return torch.where(grey, pixels.mean(dim=1, keepdim=True).expand_as(pixels), pixels).clamp(0, 1)


def shift_and_zoom(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Keep at least 80 % of each edge."""
    count = len(pixels)
    zoom = 1 - 0.2 * torch.rand(count, generator=generator)
    offset = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - zoom)[:, None]
    frame = torch.zeros(count, 2, 3)
    frame[:, 0, 0] = frame[:, 1, 1] = zoom
    frame[:, :, 2] = offset
    grid = F.affine_grid(frame, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def jitter(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Brightness and contrast within 15 %, each colour channel within 8 %."""
    count = len(pixels)
    gain = 1 + 0.15 * (torch.rand(count, 1, 1, 1, generator=generator) * 2 - 1)
    tint = 1 + 0.08 * (torch.rand(count, 3, 1, 1, generator=generator) * 2 - 1)
    shift = 0.1 * (torch.rand(count, 1, 1, 1, generator=generator) * 2 - 1)
    return pixels * gain * tint + shift
