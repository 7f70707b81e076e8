"""From scratch: the denoiser is drawn anew, and the text encoders if they learn; the base gives its shape and its VAE.

A snapshot is a complete diffusers folder: see `whole`. `paleo pretrain` trains the embedded base's denoiser with it.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.core.params import Train
from pipeline.core.records import Subject
from pipeline.diffusion import noise
from pipeline.families.model_components import ModelComponents
from pipeline.methods import full_fine_tune
from pipeline.methods.adapters import learning_modules
from pipeline.methods.trainable import Teacher, Trainable, cast

SECTIONS, SUPPORTED = ("full",), ("sd", "sdxl")
save, restore = full_fine_tune.save, full_fine_tune.restore


def learns_text(train: Train) -> bool:
    """Does the text encoder change, so that sentences must be encoded anew at every step?"""
    return train.full.train_text_encoder


def attach(parts: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype) -> Trainable:
    """Forget the weights that learn; a teacher, if one is wanted, is the base before that."""
    text = learns_text(train)
    modules = learning_modules(parts, text)
    if not text:
        cast(parts.text_encoders, frozen_dtype)
    teacher = full_fine_tune.frozen_copy(parts, modules, train.prior, frozen_dtype)
    for name, module in modules.items():
        draw_anew(module, noise.generator(seed, f"full/{name}"))
    return trainable(parts, text, teacher)


def trainable(parts: ModelComponents, text: bool, teacher: Teacher | None = None) -> Trainable:
    """All weights of the denoiser learn, and of the text encoders if wanted, from where they are."""
    return full_fine_tune.every_weight(parts, learning_modules(parts, text), teacher)


def draw_anew(module: nn.Module, source: torch.Generator) -> None:
    """Put first weights in the place of a diffusers or transformers model's, as its library draws them."""
    kind = type(module)
    # Both draw from the global state, which is put back afterwards, and on the CPU, so that no device matters.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source.initial_seed())
        fresh = kind.from_config(module.config) if hasattr(kind, "from_config") else kind(module.config)
    module.load_state_dict(fresh.state_dict())
