"""How a checkpoint loads with other people's libraries alone, as code to copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PIPELINES = {"sd": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}
ENCODERS = {"sd": ("text_encoder",), "sdxl": ("text_encoder", "text_encoder_2")}
WORDS = "learned_embeds.safetensors"
BESIDE_ITS_BASE = ("lora", "lokr", "loha", "textual_inversion", "pivotal")


def usage(card: Mapping[str, Any], path: str) -> str:
    """Python that draws with the checkpoint at `path`; `card` is the model's. At the base's own path: with the base."""
    base, method = card.get("base", ""), card.get("method", "")
    pipeline = PIPELINES.get(card.get("family", ""), "DiffusionPipeline")
    beside = method in BESIDE_ITS_BASE and path != base
    lines = [f"from diffusers import {pipeline}", f'pipe = {pipeline}.from_pretrained("{base if beside else path}")']
    lines += _laid_over(card, method, path) if beside else []
    called = f"{card['trigger']} flying over the sea" if "trigger" in card else "a flying reptile"
    return "\n".join([*lines, f'pipe("{called}").images[0].save("picture.png")'])


def _laid_over(card: Mapping[str, Any], method: str, path: str) -> list[str]:
    if method in ("lokr", "loha"):
        encoders = ENCODERS.get(card.get("family", ""), ()) if _learnt_text(card, method) else ()
        folders = [f'PeftModel.from_pretrained(pipe.{name}, "{path}/{name}")' for name in ("unet", *encoders)]
        return ["from peft import PeftModel", *folders]
    words = _words(card, path) if method in ("textual_inversion", "pivotal") else []
    adapters = [f'pipe.load_lora_weights("{path}", weight_name="pytorch_lora_weights.safetensors")']
    return words if method == "textual_inversion" else [*words, *adapters]


def _learnt_text(card: Mapping[str, Any], method: str) -> bool:
    return card.get("params", {}).get(method, {}).get("train_text_encoder", False)


def _words(card: Mapping[str, Any], path: str) -> list[str]:
    token = f'token="{card.get("trigger", "")}"'
    if card.get("family") != "sdxl":
        return [f'pipe.load_textual_inversion("{path}/{WORDS}", {token})']
    loads = [
        f'pipe.load_textual_inversion(words["{key}"], {token}, text_encoder=pipe.{encoder}, tokenizer=pipe.{tokenizer})'
        for key, encoder, tokenizer in (
            ("clip_l", "text_encoder", "tokenizer"),
            ("clip_g", "text_encoder_2", "tokenizer_2"),
        )
    ]
    return ["from safetensors.torch import load_file", f'words = load_file("{path}/{WORDS}")', *loads]
