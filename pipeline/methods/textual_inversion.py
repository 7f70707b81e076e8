"""Textual inversion (Gal et al. 2023): nothing of the base changes, the species is a few new words for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from pipeline.core.params import Train
from pipeline.core.records import Subject
from pipeline.families.model_components import ModelComponents
from pipeline.methods import token_embeddings
from pipeline.methods.trainable import Group, Trainable, cast

SECTIONS, SUPPORTED = ("textual_inversion",), ("sd", "sdxl")
WHERE = "train.textual_inversion"
KEEPS_BASE = True  # every other sentence is read as before, so there is nothing that a prior could protect
restore, trigger = token_embeddings.restore, token_embeddings.trigger


def learns_text(train: Train) -> bool:
    """Always: sentences with the words are encoded at every step."""
    return True


def check(family_name: str, base: Path, train: Train) -> None:
    """ParamsError when there are more vectors than the base reads; nothing is loaded."""
    token_embeddings.check(train.textual_inversion, WHERE, family_name, base)


def attach(parts: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype) -> Trainable:
    """Words for the species, alone in learning; see `tokens.teach` for what is refused."""
    section = train.textual_inversion
    cast((parts.unet, *parts.text_encoders), frozen_dtype)
    taught = token_embeddings.teach(parts, subject, section, WHERE)
    modules = token_embeddings.free(taught)
    words = Group(token_embeddings.learnt(modules), section.learning_rate / train.learning_rate, decays=False)
    return Trainable(taught, modules, (words,))


def save(trainable: Trainable, folder: Path, dtype: torch.dtype, stamp: Mapping[str, str]) -> None:
    """`learned_embeds.safetensors`."""
    token_embeddings.save(trainable.modules, trainable.parts, folder, dtype, stamp)
