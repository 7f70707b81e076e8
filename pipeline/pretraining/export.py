"""Everything in one folder that `StableDiffusionPipeline` and `CLIPModel` both load."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import nn
from transformers import CLIPTokenizer

from pipeline.families.model_components import ModelComponents
from pipeline.pretraining.denoiser import scheduler
from pipeline.vision.clip import Clip, Preprocessing


def export(folder: Path, clip: Clip, components: ModelComponents) -> None:
    """Write half-precision copies: the pipeline in its subfolders, CLIP beside `model_index.json`."""
    save_pipeline(folder, components.vae, components.unet, components.text_encoders[0], clip.tokenizer)
    half(clip.model).save_pretrained(folder)
    for config in (folder / "config.json", folder / "text_encoder" / "config.json"):
        ask_for_full_precision(config)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)  # transformers writes them for their owner alone
    save_tokenizer(folder, clip.tokenizer)
    write_json(folder / "preprocessor_config.json", preprocessor_config(clip.preprocessing))


def save_pipeline(
    folder: Path, vae: nn.Module, unet: nn.Module, text_encoder: nn.Module, tokenizer: CLIPTokenizer
) -> None:
    pipeline = StableDiffusionPipeline(
        vae=half(vae),
        text_encoder=half(text_encoder),
        tokenizer=tokenizer,
        unet=half(unet),
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


def half(module: nn.Module) -> nn.Module:
    """A copy for the disk; what is being trained stays in full precision."""
    return copy.deepcopy(module).half().to(memory_format=torch.contiguous_format).eval()


def ask_for_full_precision(config: Path) -> None:
    """transformers loads in the precision that the config names, diffusers always in full; the two must agree."""
    write_json(config, json.loads(config.read_text(encoding="utf-8")) | {"dtype": "float32"})


def preprocessor_config(look: Preprocessing) -> dict:
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": look.shortest_edge_px},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": look.crop_px, "width": look.crop_px},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(look.mean),
        "image_std": list(look.std),
    }


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
