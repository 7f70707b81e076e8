"""LoKr (Yeh et al. 2024): W + (alpha / rank) C ⊗ D, a Kronecker product; D is B A where the rank is small enough.

A snapshot has one folder for each module that learnt, in peft's own layout, since diffusers' `load_lora_weights` knows
no Kronecker products. `PeftModel` puts it into a pipeline's module in place:

    pipe = DiffusionPipeline.from_pretrained(base)
    PeftModel.from_pretrained(pipe.unet, "models/dodo/step-000500/unet")
    PeftModel.from_pretrained(pipe.text_encoder, "models/dodo/step-000500/text_encoder")   # if it is there
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.core.errors import ParamsError
from pipeline.core.params import Train
from pipeline.core.records import Subject
from pipeline.families.model_components import ModelComponents
from pipeline.methods import adapters, peft_folders
from pipeline.methods.trainable import Trainable

if TYPE_CHECKING:
    from peft import LoKrConfig

SECTIONS, SUPPORTED = ("lokr",), ("sd", "sdxl")
save, restore = peft_folders.save, peft_folders.restore


def learns_text(train: Train) -> bool:
    """Do text encoders change, so that sentences are encoded at every step?"""
    return train.lokr.train_text_encoder


def check(family_name: str, base: Path, train: Train) -> None:
    """ParamsError when factor, targets or rank do not fit the base; nothing is loaded."""
    factor = train.lokr.factor
    if factor != -1 and factor < 1:
        raise ParamsError(
            f"train.lokr.factor is {factor}, which divides nothing; take -1 (as square as can be) or 1, 2 …"
        )
    adapters.check("lokr", train.lokr, family_name, base)


def attach(parts: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype) -> Trainable:
    """Adapters in the denoiser, and in every text encoder if wanted; ParamsError as `check`."""
    return adapters.attach("lokr", train.lokr, partial(_config, train), parts, seed, frozen_dtype)


def _config(train: Train, targets: list[str]) -> LoKrConfig:
    from peft import LoKrConfig

    lokr = train.lokr
    return LoKrConfig(r=lokr.rank, alpha=lokr.alpha, decompose_factor=lokr.factor, target_modules=targets)
