"""Models with random weights from a `ModelConfig`: as a diffusers folder, or without memory to count their FLOPs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.model_configs import ModelConfig

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}


@dataclass(frozen=True)
class Cost:
    """FLOPs for one picture; a multiplication and an addition are two."""

    unet: float  # forward
    vae: float  # encoder
    text: float  # all text encoders
    step: float  # forward and backward of the UNet with LoRA


def modules(config: ModelConfig, device: str) -> dict[str, nn.Module]:
    """By the names of their folders."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device(device), _seeded(device):
        models = {"unet": UNet2DConditionModel(**config.unet), "vae": AutoencoderKL(**config.vae)}
        return models | _text_encoders(config)


def parameters(config: ModelConfig) -> dict[str, float]:
    """Millions of parameters of each module."""
    return {
        name: sum(weight.numel() for weight in module.parameters()) / 1e6
        for name, module in modules(config, "meta").items()
    }


def cost(config: ModelConfig, rank: int) -> Cost:
    """Counted by running the model without memory."""
    models = modules(config, "meta")
    with torch.device("meta"), torch.no_grad():
        forward = _flops(lambda: _denoise(models["unet"], config))
        vae = _flops(lambda: models["vae"].encode(torch.empty(1, 3, config.side_px, config.side_px)))
        ids = torch.zeros(1, 77, dtype=torch.long)
        encoders = [module for name, module in models.items() if name.startswith("text_encoder")]
        text = sum(_flops(lambda module=module: module(ids)) for module in encoders)
    return Cost(forward, vae, text, _step_flops(models["unet"], config, rank))


def write(config: ModelConfig, folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Path:
    """A diffusers folder with every file that a downloaded model has; drawn on `device`, which is quick on a GPU."""
    from diffusers import DDIMScheduler

    for name, module in modules(config, device).items():
        module.to(dtype).save_pretrained(folder / name)
    DDIMScheduler(**BETAS).save_pretrained(folder / "scheduler")
    for name in _tokenizers(config):
        _tokenizer().save_pretrained(folder / name)
    (folder / "model_index.json").write_text(json.dumps(_index(config), indent=2))
    return folder


def _step_flops(unet: nn.Module, config: ModelConfig, rank: int) -> float:
    from peft import LoraConfig

    unet.requires_grad_(False)
    with torch.device("meta"):
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LORA_TARGETS)))
        return _flops(lambda: _denoise(unet, config).sum().backward())


def _denoise(unet: nn.Module, config: ModelConfig) -> torch.Tensor:
    edge, context = unet.config.sample_size, torch.empty(1, 77, unet.config.cross_attention_dim)
    added = {"text_embeds": torch.empty(1, config.texts[-1]["projection_dim"]), "time_ids": torch.empty(1, 6)}
    more = {"added_cond_kwargs": added} if config.family == "sdxl" else {}
    return unet(torch.empty(1, 4, edge, edge), torch.empty(1, dtype=torch.long), context, **more).sample


def _flops(work: Callable[[], object]) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return counter.get_total_flops()


@contextlib.contextmanager
def _seeded(device: str):
    """The same weights each time; the global random state is restored afterwards."""
    with torch.random.fork_rng(devices=[0] if device == "cuda" else []):
        torch.manual_seed(0)
        yield


def _text_encoders(config: ModelConfig) -> dict[str, nn.Module]:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer, kinds = _tokenizer(), (CLIPTextModel, CLIPTextModelWithProjection)
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    names = ("text_encoder", "text_encoder_2")
    return {name: kind(CLIPTextConfig(**text, **special)) for name, kind, text in zip(names, kinds, config.texts)}


def _tokenizers(config: ModelConfig) -> tuple[str, ...]:
    return ("tokenizer", "tokenizer_2")[: len(config.texts)]


def _tokenizer():
    """One token per letter: the vocabulary has no influence on the cost."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=77)


def _index(config: ModelConfig) -> dict:
    components = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "scheduler": "DDIMScheduler"}
    index = {name: ["diffusers", kind] for name, kind in components.items()}
    index |= {name: ["transformers", "CLIPTokenizer"] for name in _tokenizers(config)}
    index["text_encoder"] = ["transformers", "CLIPTextModel"]
    if config.family == "sd":
        return {
            "_class_name": "StableDiffusionPipeline",
            **index,
            "safety_checker": [None, None],
            "feature_extractor": [None, None],
            "requires_safety_checker": False,
        }
    index["text_encoder_2"] = ["transformers", "CLIPTextModelWithProjection"]
    return {"_class_name": "StableDiffusionXLPipeline", **index, "force_zeros_for_empty_prompt": True}
