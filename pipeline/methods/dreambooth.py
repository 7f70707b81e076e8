"""DreamBooth (Ruiz et al. 2022): every weight of the denoiser learns, and of the text encoders if wanted.

A snapshot is a complete diffusers folder: see `whole`.
"""

from __future__ import annotations

import torch

from pipeline.core.params import Train
from pipeline.core.records import Subject
from pipeline.families.model_components import ModelComponents
from pipeline.methods import full_fine_tune
from pipeline.methods.adapters import learning_modules
from pipeline.methods.trainable import Trainable, cast

SECTIONS, SUPPORTED = ("dreambooth",), ("sd", "sdxl")
save, restore = full_fine_tune.save, full_fine_tune.restore


def learns_text(train: Train) -> bool:
    """Does the text encoder change, so that sentences must be encoded anew at every step?"""
    return train.dreambooth.train_text_encoder


def attach(parts: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype) -> Trainable:
    """Free the weights that learn; they stay in full precision, whatever the computation's."""
    modules = learning_modules(parts, learns_text(train))
    if not learns_text(train):
        cast(parts.text_encoders, frozen_dtype)
    return full_fine_tune.every_weight(
        parts, modules, full_fine_tune.frozen_copy(parts, modules, train.prior, frozen_dtype)
    )
