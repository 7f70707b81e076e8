"""Pivotal tuning: new words for the species, and LoRA that draws what they mean, learnt at once (Roich et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from pipeline.core.params import Train
from pipeline.core.records import Subject
from pipeline.families.model_components import ModelComponents
from pipeline.methods import lora, token_embeddings
from pipeline.methods.adapters import ADAPTER
from pipeline.methods.trainable import Group, Trainable

SECTIONS, SUPPORTED = ("pivotal", "lora"), ("sd", "sdxl")
WHERE = "train.pivotal"
trigger = token_embeddings.trigger


def learns_text(train: Train) -> bool:
    """Always: sentences with the words are encoded at every step."""
    return True


def check(family_name: str, base: Path, train: Train) -> None:
    """ParamsError when the words or the LoRA do not fit the base; nothing is loaded."""
    token_embeddings.check(train.pivotal, WHERE, family_name, base)
    lora.check(family_name, base, train)


def attach(parts: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype) -> Trainable:
    """LoRA as `train.lora` says, and words beside it that learn at their own rate."""
    section = train.pivotal
    adapted = lora.attach(parts, train, subject, seed, frozen_dtype)
    taught = token_embeddings.teach(adapted.parts, subject, section, WHERE)
    modules = {**adapted.modules, **token_embeddings.free(taught)}
    names = token_embeddings.learnt(modules)
    words = Group(names, section.learning_rate / train.learning_rate, decays=False)
    both = replace(adapted, parts=taught, modules=modules)
    others = adapted.groups or (Group(tuple(name for name in both.parameters if name not in names)),)
    return replace(both, groups=(*others, words))


def save(trainable: Trainable, folder: Path, dtype: torch.dtype, stamp: Mapping[str, str]) -> None:
    """The file of the words and the file of the adapters."""
    token_embeddings.save(trainable.modules, trainable.parts, folder, dtype, stamp)
    adapted = {name: module for name, module in trainable.modules.items() if ADAPTER in module.peft_config}
    lora.write(adapted, folder, dtype, stamp)


def restore(parts: ModelComponents, folder: Path) -> ModelComponents:
    """The base with the words, and with the adapters in it."""
    return lora.restore(token_embeddings.restore(parts, folder), folder)
