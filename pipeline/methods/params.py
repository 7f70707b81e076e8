"""Params that several fine-tuning methods share; a method's own section is a subclass in its file."""

from __future__ import annotations

from pydantic import Field

from pipeline.core.param_types import PositiveFloat, PositiveInt, Section
from pipeline.core.prompts import Template


class AdapterParams(Section):
    """Adapters beside frozen layers."""

    rank: PositiveInt = 16
    alpha: PositiveInt = 16
    targets: tuple[str, ...] = Field(default=("to_q", "to_k", "to_v", "to_out.0"), min_length=1)
    """Layers of the UNet: names, or ends of names."""
    train_text_encoder: bool = False
    text_targets: tuple[str, ...] = Field(default=("q_proj", "k_proj", "v_proj", "out_proj"), min_length=1)
    """Layers of the text encoders."""


class LoraParams(AdapterParams):
    rslora: bool = False
    """alpha / sqrt(rank) instead of alpha / rank (Kalajdzievski 2023)."""
    dora: bool = False
    """Magnitude and direction apart (Liu et al. 2024)."""


class PlaceholderTokenParams(Section):
    """New tokens whose embeddings are trained; they stand for {name} in every sentence."""

    vectors: PositiveInt = 4
    """Number of tokens."""
    initial: Template = "{class_noun}"
    """A phrase whose embeddings the tokens start from."""
    learning_rate: PositiveFloat = 5.0e-3


class FullFineTuneParams(Section):
    train_text_encoder: bool = True
