"""CLIP: pictures and sentences as unit vectors of one space, zero-shot classification (Radford et al. 2021).

Works for the embedded model and for any local Hugging Face CLIP folder. Preprocessing is part of every number
computed from these vectors, so there is one, and it is here: float bicubic with antialiasing on the shortest edge,
centre crop, the folder's own mean and deviation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from transformers import CLIPModel, CLIPTokenizer

from pipeline.core.errors import InputError
from pipeline.core.weight_files import check_links, check_vocabulary, check_weights, read_json

T = TypeVar("T")
WHERE = "(`base.clip` in params.yaml)"
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """Resizing, crop and normalisation, as `preprocessor_config.json` has them."""

    shortest_edge_px: int
    crop_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Clip:
    """A loaded model with its tokenizer and preprocessing."""

    model: CLIPModel
    tokenizer: CLIPTokenizer
    preprocessing: Preprocessing

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def temperature_scale(self) -> float:
        """The learnt factor that turns cosines into logits."""
        return float(self.model.logit_scale.detach().exp())


def check(folder: Path) -> None:
    """InputError unless the folder is a whole CLIP by its configs and the headers of its weights; nothing is loaded."""
    for name in ("config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} {WHERE} is no CLIP folder: it has no {name}")
    check_links(folder)
    kind = read_json(folder, "config.json").get("model_type")
    if kind != "clip":
        raise InputError(f"{folder} {WHERE} is no CLIP folder: its config.json says model_type {kind!r}")
    read_json(folder, "preprocessor_config.json")
    check_vocabulary(folder)
    check_weights(folder, "model")


def load(folder: Path | str, device: str | torch.device = "cpu") -> Clip:
    """Read a local CLIP folder; InputError with what is missing or damaged."""
    folder = Path(folder)
    check(folder)
    try:
        return _read(folder, device)
    except (OSError, ValueError, RuntimeError, SafetensorError, KeyError, TypeError, AttributeError) as error:
        detail = " ".join(str(error).split())
        raise InputError(f"{folder} {WHERE} is no CLIP that can be loaded: {detail}") from error


def _read(folder: Path, device: str | torch.device) -> Clip:
    # transformers loads the file's own dtype; half-precision files must still be computed in full precision.
    model, found = CLIPModel.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    if missing := sorted(found["missing_keys"]):  # they would be random numbers
        raise ValueError(f"it lacks the weights {missing[0]}")
    tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    settings = read_json(folder, "preprocessor_config.json")
    return Clip(model.eval().requires_grad_(False).to(device), tokenizer, parse_preprocessing(settings))


def parse_preprocessing(settings: Mapping[str, Any]) -> Preprocessing:
    """Both layouts of `preprocessor_config.json`: `size: 224` (2021) and `size: {shortest_edge: 224}`."""
    crop_px = _edge_px(settings.get("crop_size", settings.get("size", 224)))
    return Preprocessing(
        shortest_edge_px=_edge_px(settings.get("size", crop_px)),
        crop_px=crop_px,
        mean=tuple(settings.get("image_mean", OPENAI_MEAN)),
        std=tuple(settings.get("image_std", OPENAI_STD)),
    )


def preprocess(images: Sequence[Image.Image], preprocessing: Preprocessing) -> torch.Tensor:
    """Pictures of any size and mode -> (n, 3, crop, crop), normalised, float32."""
    squares = torch.stack([resize_and_crop(image, preprocessing) for image in images])
    return normalise(squares, preprocessing)


def resize_and_crop(image: Image.Image, preprocessing: Preprocessing) -> torch.Tensor:
    """One picture -> (3, crop, crop) in 0..1."""
    pixels = torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32) / 255)
    pixels = pixels.permute(2, 0, 1).unsqueeze(0)
    scale = preprocessing.shortest_edge_px / min(pixels.shape[-2:])
    size = [max(preprocessing.crop_px, round(edge * scale)) for edge in pixels.shape[-2:]]
    if size != list(pixels.shape[-2:]):
        # Bicubic overshoots at edges; no picture that CLIP was trained on has colours outside 0..1.
        pixels = F.interpolate(pixels, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = ((edge - preprocessing.crop_px) // 2 for edge in size)
    return pixels[0, :, top : top + preprocessing.crop_px, left : left + preprocessing.crop_px]


def normalise(squares: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """(n, 3, h, w) in 0..1 -> the same, with the model's mean and deviation."""
    mean = torch.tensor(preprocessing.mean, device=squares.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=squares.device).view(1, 3, 1, 1)
    return (squares - mean) / std


@torch.no_grad()
def embed_images(clip: Clip, images: Sequence[Image.Image], batch_size: int = 64) -> np.ndarray:
    """n pictures -> (n, d) float32, rows of length one."""
    rows = [
        _unit_rows(clip.model.get_image_features(pixel_values=preprocess(part, clip.preprocessing).to(clip.device)))
        for part in _batches(images, batch_size)
    ]
    return _stack(rows, clip)


@torch.no_grad()
def embed_texts(clip: Clip, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
    """n sentences -> (n, d) float32, rows of length one; a sentence longer than the context is cut."""
    rows = [_unit_rows(clip.model.get_text_features(**tokenise(clip, part))) for part in _batches(texts, batch_size)]
    return _stack(rows, clip)


def tokenise(clip: Clip, texts: Sequence[str]) -> dict[str, torch.Tensor]:
    """n sentences -> input_ids and attention_mask, each (n, longest)."""
    length = clip.model.config.text_config.max_position_embeddings
    tokens = clip.tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt")
    return {name: tokens[name].to(clip.device) for name in ("input_ids", "attention_mask")}


def embed_classes(clip: Clip, prompts_by_class: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Each class's sentences -> their mean direction: (k, d), unit rows, in the mapping's order."""
    means = np.stack([embed_texts(clip, prompts).mean(axis=0) for prompts in prompts_by_class.values()])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def zero_shot(clip: Clip, images: Sequence[Image.Image], prompts_by_class: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Probabilities (n, k) over the classes in the mapping's order, without training on them."""
    return class_probabilities(clip, embed_images(clip, images), embed_classes(clip, prompts_by_class))


def class_probabilities(clip: Clip, image_rows: np.ndarray, class_rows: np.ndarray) -> np.ndarray:
    """(n, d) and (k, d) unit rows -> softmax of the scaled cosines, (n, k)."""
    logits = clip.temperature_scale * image_rows @ class_rows.T
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _edge_px(value: int | Mapping[str, int]) -> int:
    return int(value if isinstance(value, int) else value.get("shortest_edge") or value["height"])


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _unit_rows(output: Any) -> np.ndarray:
    # transformers 5 returns an output object whose pooler_output is the projected vector.
    return F.normalize(output.pooler_output.float(), dim=-1).cpu().numpy()


def _stack(rows: list[np.ndarray], clip: Clip) -> np.ndarray:
    return np.concatenate(rows) if rows else np.zeros((0, clip.model.config.projection_dim), np.float32)
