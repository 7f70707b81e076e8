"""LoHa (Hyeon-Woo et al. 2022): W + (alpha / rank) (B A) ⊙ (D C), the product of each number of two small products.

Its rank can be the square of `rank`. A snapshot is laid out and loaded as one of LoKr: see `lokr`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.core.params import Train
from pipeline.core.records import Subject
from pipeline.families.model_components import ModelComponents
from pipeline.methods import adapters, peft_folders
from pipeline.methods.trainable import Trainable

if TYPE_CHECKING:
    from peft import LoHaConfig

SECTIONS, SUPPORTED = ("loha",), ("sd", "sdxl")
save, restore = peft_folders.save, peft_folders.restore


def learns_text(train: Train) -> bool:
    """Do text encoders change, so that sentences are encoded at every step?"""
    return train.loha.train_text_encoder


def check(family_name: str, base: Path, train: Train) -> None:
    """ParamsError when targets or rank do not fit the base; nothing is loaded."""
    adapters.check("loha", train.loha, family_name, base)


def attach(parts: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype) -> Trainable:
    """Adapters in the denoiser, and in every text encoder if wanted; ParamsError as `check`."""
    return adapters.attach("loha", train.loha, partial(_config, train), parts, seed, frozen_dtype)


def _config(train: Train, targets: list[str]) -> LoHaConfig:
    from peft import LoHaConfig

    return LoHaConfig(r=train.loha.rank, alpha=train.loha.alpha, target_modules=targets)
