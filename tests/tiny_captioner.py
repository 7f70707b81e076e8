"""A BLIP captioning model with random weights for tests: it speaks, but makes no sense."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration

SIDE_PX = 16
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
WORDS = ["a", "the", "of", "on", "bird", "dodo", "reptile", "painting", "drawing", "flying", "sea", "sky", "green"]


def write_captioner(folder: Path) -> Path:
    """One layer on each side; the folder has every file that a downloaded model has."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *WORDS]) + "\n")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = {"vocab_size": len(SPECIAL) + len(WORDS), "encoder_hidden_size": 16, "max_position_embeddings": 64}
    vision = {**sizes, "image_size": SIDE_PX, "patch_size": 8}
    config = BlipConfig(text_config={**text, **sizes, **ends}, vision_config=vision, projection_dim=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BlipForConditionalGeneration(config).save_pretrained(folder)
    settings = {"size": {"height": SIDE_PX, "width": SIDE_PX}}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder
