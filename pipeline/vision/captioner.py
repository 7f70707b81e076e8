"""Image captioning with a local BLIP model (Li et al. 2022): one sentence for each picture, always the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoTokenizer, BlipForConditionalGeneration, PreTrainedTokenizerBase

from pipeline.core.errors import InputError
from pipeline.core.weight_files import check_links, check_weights
from pipeline.vision.clip import OPENAI_MEAN, OPENAI_STD

MAX_TOKENS = 40
WHERE = "(`curate.captioner` in params.yaml)"


@dataclass(frozen=True)
class Captioner:
    """A loaded model; pictures are resized to `size_px` (width, height), aspect not kept, as in its training."""

    model: BlipForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    size_px: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def load(folder: Path) -> Captioner:
    """Read a local Hugging Face folder of a BLIP captioning model; InputError with what is missing or damaged."""
    for name in ("config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} {WHERE} is no folder of a captioning model: it has no {name}")
    check_links(folder)
    check_weights(folder, "model")
    try:
        return _read(folder)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        detail = " ".join(str(error).split())
        raise InputError(f"{folder} {WHERE} is no BLIP model that can be loaded: {detail}") from error


@torch.no_grad()
def caption_images(captioner: Captioner, images: Sequence[Image.Image]) -> list[str]:
    """One caption for each picture, by greedy decoding, so that nothing is left to chance."""
    pixels = torch.stack([_pixels(image, captioner) for image in images])
    tokens = captioner.model.generate(
        pixel_values=pixels, max_new_tokens=MAX_TOKENS, min_new_tokens=1, do_sample=False, num_beams=1
    )
    return [text.strip() for text in captioner.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def _read(folder: Path) -> Captioner:
    settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    if (kind := json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")) != "blip":
        raise ValueError(f"its config.json says model_type {kind!r}")
    model = BlipForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    size = settings["size"]
    mean, std = settings.get("image_mean", OPENAI_MEAN), settings.get("image_std", OPENAI_STD)
    return Captioner(model.eval(), tokenizer, (size["width"], size["height"]), tuple(mean), tuple(std))


def _pixels(image: Image.Image, captioner: Captioner) -> torch.Tensor:
    """(3, height, width), normalised."""
    resized = image.convert("RGB").resize(captioner.size_px, Image.Resampling.BICUBIC)
    levels = np.asarray(resized, dtype=np.float32) / 255
    mean, std = (np.array(each, dtype=np.float32) for each in (captioner.mean, captioner.std))
    return torch.from_numpy((levels - mean) / std).permute(2, 0, 1)
