"""The pre-trained model on disk: one folder that `StableDiffusionPipeline` and `CLIPModel` both load."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import nn
from transformers import CLIPTokenizer

from pipeline.families.model_components import ModelComponents
from pipeline.pretraining.denoiser import scheduler
from pipeline.vision.clip import Clip, Preprocessing


def save_model(folder: Path, clip: Clip, components: ModelComponents) -> None:
    """Write half-precision copies: the pipeline in its subfolders, CLIP beside `model_index.json`."""
    save_pipeline(folder, components.vae, components.unet, components.text_encoders[0], clip.tokenizer)
    half_precision_copy(clip.model).save_pretrained(folder)
    for config in (folder / "config.json", folder / "text_encoder" / "config.json"):
        declare_full_precision(config)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)  # transformers writes them for their owner alone
    save_tokenizer(folder, clip.tokenizer)
    write_json(folder / "preprocessor_config.json", preprocessor_config(clip.preprocessing))


def save_pipeline(
    folder: Path, vae: nn.Module, unet: nn.Module, text_encoder: nn.Module, tokenizer: CLIPTokenizer
) -> None:
    pipeline = StableDiffusionPipeline(
        vae=half_precision_copy(vae),
        text_encoder=half_precision_copy(text_encoder),
        tokenizer=tokenizer,
        unet=half_precision_copy(unet),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    save_tokenizer(folder / "tokenizer", tokenizer)


def save_tokenizer(folder: Path, tokenizer: CLIPTokenizer) -> None:
    """Without tokenizer.json: vocab.json and merges.txt say the same, and every byte of the folder lies in git."""
    tokenizer.save_pretrained(folder)
    tokenizer.backend_tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    (folder / "tokenizer.json").unlink()


def half_precision_copy(module: nn.Module) -> Any:
    """A copy to save; the weights in training stay in full precision."""
    copied: Any = copy.deepcopy(module).half()
    return copied.to(memory_format=torch.contiguous_format).eval()


def declare_full_precision(config: Path) -> None:
    """transformers loads in the precision that the config names, diffusers always in full; the two must agree."""
    write_json(config, json.loads(config.read_text(encoding="utf-8")) | {"dtype": "float32"})


def preprocessor_config(preprocessing: Preprocessing) -> dict[str, Any]:
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": preprocessing.shortest_edge_px},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": preprocessing.crop_px, "width": preprocessing.crop_px},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
    }


def write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
