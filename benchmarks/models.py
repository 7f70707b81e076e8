"""Models with random weights from a `Shape`: as a diffusers folder, or without memory to count their FLOPs."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.shapes import Shape

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}


@dataclass(frozen=True)
class Cost:
    """FLOPs for one picture; a multiplication and an addition are two."""

    unet: float  # forward
    vae: float  # encoder
    text: float  # all text encoders
    step: float  # forward and backward of the UNet with LoRA


def modules(shape: Shape, device: str) -> dict[str, nn.Module]:
    """By the names of their folders."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device(device), _seeded(device):
        made = {"unet": UNet2DConditionModel(**shape.unet), "vae": AutoencoderKL(**shape.vae)}
        return made | _text_encoders(shape)


def parameters(shape: Shape) -> dict[str, float]:
    """Millions of parameters of each module."""
    return {
        name: sum(weight.numel() for weight in module.parameters()) / 1e6
        for name, module in modules(shape, "meta").items()
    }


def cost(shape: Shape, rank: int) -> Cost:
    """Counted by running the model without memory."""
    made = modules(shape, "meta")
    with torch.device("meta"), torch.no_grad():
        forward = _flops(lambda: _denoise(made["unet"], shape))
        vae = _flops(lambda: made["vae"].encode(torch.empty(1, 3, shape.side_px, shape.side_px)))
        ids = torch.zeros(1, 77, dtype=torch.long)
        text = sum(_flops(lambda module=made[name]: module(ids)) for name in made if name.startswith("text_encoder"))
    return Cost(forward, vae, text, _step_flops(made["unet"], shape, rank))


def write(shape: Shape, folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Path:
    """A diffusers folder with every file that a downloaded model has; drawn on `device`, which is quick on a GPU."""
    from diffusers import DDIMScheduler

    for name, module in modules(shape, device).items():
        module.to(dtype).save_pretrained(folder / name)
    DDIMScheduler(**BETAS).save_pretrained(folder / "scheduler")
    for name in _tokenizers(shape):
        _tokenizer().save_pretrained(folder / name)
    (folder / "model_index.json").write_text(json.dumps(_index(shape), indent=2))
    return folder


def _step_flops(unet: nn.Module, shape: Shape, rank: int) -> float:
    from peft import LoraConfig

    unet.requires_grad_(False)
    with torch.device("meta"):
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LORA_TARGETS)))
        return _flops(lambda: _denoise(unet, shape).sum().backward())


def _denoise(unet: nn.Module, shape: Shape) -> torch.Tensor:
    edge, context = unet.config.sample_size, torch.empty(1, 77, unet.config.cross_attention_dim)
    added = {"text_embeds": torch.empty(1, shape.texts[-1]["projection_dim"]), "time_ids": torch.empty(1, 6)}
    more = {"added_cond_kwargs": added} if shape.family == "sdxl" else {}
    return unet(torch.empty(1, 4, edge, edge), torch.empty(1, dtype=torch.long), context, **more).sample


def _flops(work) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return counter.get_total_flops()


@contextlib.contextmanager
def _seeded(device: str):
    """The same weights each time; nobody else's random numbers change."""
    with torch.random.fork_rng(devices=[0] if device == "cuda" else []):
        torch.manual_seed(0)
        yield


def _text_encoders(shape: Shape) -> dict[str, nn.Module]:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer, kinds = _tokenizer(), (CLIPTextModel, CLIPTextModelWithProjection)
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    names = ("text_encoder", "text_encoder_2")
    return {name: kind(CLIPTextConfig(**config, **special)) for name, kind, config in zip(names, kinds, shape.texts)}


def _tokenizers(shape: Shape) -> tuple[str, ...]:
    return ("tokenizer", "tokenizer_2")[: len(shape.texts)]


def _tokenizer():
    """One token per letter: which words a model knows costs nothing."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[], model_max_length=77)


def _index(shape: Shape) -> dict:
    own = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "scheduler": "DDIMScheduler"}
    found = {name: ["diffusers", kind] for name, kind in own.items()}
    found |= {name: ["transformers", "CLIPTokenizer"] for name in _tokenizers(shape)}
    found["text_encoder"] = ["transformers", "CLIPTextModel"]
    if shape.family == "sd":
        return {
            "_class_name": "StableDiffusionPipeline",
            **found,
            "safety_checker": [None, None],
            "feature_extractor": [None, None],
            "requires_safety_checker": False,
        }
    found["text_encoder_2"] = ["transformers", "CLIPTextModelWithProjection"]
    return {"_class_name": "StableDiffusionXLPipeline", **found, "force_zeros_for_empty_prompt": True}
