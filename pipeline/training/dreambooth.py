"""DreamBooth (Ruiz et al. 2022): every weight of the denoiser learns, and of the text encoders if wanted.

A snapshot is a complete diffusers folder: see `whole`.
"""

from __future__ import annotations

import torch

from pipeline.core.params import Train
from pipeline.core.records import Subject
from pipeline.families.parts import Parts
from pipeline.training import whole
from pipeline.training.adapters import learning_modules
from pipeline.training.trainable import Trainable, cast

SECTIONS, SUPPORTED = ("dreambooth",), ("sd", "sdxl")
save, restore = whole.save, whole.restore


def learns_text(train: Train) -> bool:
    """Does the text encoder change, so that sentences must be encoded anew at every step?"""
    return train.dreambooth.train_text_encoder


def attach(parts: Parts, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype) -> Trainable:
    """Free the weights that learn; they stay in full precision, whatever the computation's."""
    modules = learning_modules(parts, learns_text(train))
    if not learns_text(train):
        cast(parts.text_encoders, frozen_dtype)
    return whole.every_weight(parts, modules, whole.frozen_copy(parts, modules, train.prior, frozen_dtype))
