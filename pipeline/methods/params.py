"""Params of the fine-tuning methods."""

from __future__ import annotations

from pydantic import Field

from pipeline.core.param_types import PositiveFloat, PositiveInt, Section
from pipeline.core.prompts import Template


class Dreambooth(Section):
    train_text_encoder: bool


class Full(Section):
    train_text_encoder: bool


class Lora(Section):
    rank: PositiveInt
    alpha: PositiveInt
    targets: tuple[str, ...] = Field(min_length=1)
    train_text_encoder: bool
    text_targets: tuple[str, ...] = Field(min_length=1)
    rslora: bool
    dora: bool


class Loha(Section):
    rank: PositiveInt
    alpha: PositiveInt
    targets: tuple[str, ...] = Field(min_length=1)
    train_text_encoder: bool
    text_targets: tuple[str, ...] = Field(min_length=1)


class Lokr(Loha):
    factor: int


class Tokens(Section):
    """New words whose vectors are learnt; they stand for the species' name."""

    vectors: PositiveInt
    initial: Template
    learning_rate: PositiveFloat
