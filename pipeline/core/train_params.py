"""The section `train` of params.yaml: what is learnt, from what, how fast, and what is shown meanwhile."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from pipeline.core.prompts import CAPTION_PLACEHOLDERS, Template, fill
from pipeline.core.source_params import NonNegativeInt, PositiveInt, Section

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _fills(template: str) -> str:
    fill(template, CAPTION_PLACEHOLDERS, **dict.fromkeys(CAPTION_PLACEHOLDERS, ""))
    return template


CaptionTemplate = Annotated[str, AfterValidator(_fills)]


class Buckets(Section):
    """Shapes that pictures may have in training; max_aspect 1: squares only."""

    max_aspect: Annotated[float, Field(ge=1)]
    step_px: PositiveInt


class Masks(Section):
    """How much a pixel counts where a picture's mask is black."""

    outside: Fraction


class Loss(Section):
    kind: Literal["mse", "huber"]
    huber_delta: PositiveFloat
    min_snr_gamma: NonNegativeFloat
    noise_offset: NonNegativeFloat
    zero_terminal_snr: bool
    timesteps: Literal["uniform", "logit_normal"]


class Prior(Section):
    """So that the class is not forgotten: its pictures by the base, or the base's own answers."""

    kind: Literal["pictures", "teacher"]
    weight: NonNegativeFloat
    images: NonNegativeInt
    prompt: Template


class Monitor(Section):
    """What is looked at before the first step and at every snapshot."""

    timesteps: NonNegativeInt
    pictures: PositiveInt
    prompts: tuple[Template, ...]
    seeds: tuple[NonNegativeInt, ...]
    steps: PositiveInt


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


class Train(Section):
    method: str
    steps: PositiveInt
    snapshots: tuple[PositiveInt, ...] = Field(min_length=1)
    batch_size: PositiveInt
    resolution_px: PositiveInt
    buckets: Buckets
    learning_rate: PositiveFloat
    schedule: Literal["constant", "linear", "cosine"]
    warmup_steps: NonNegativeInt
    optimiser: str
    weight_decay: NonNegativeFloat
    max_gradient_norm: PositiveFloat
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    loss: Loss
    mirror: bool
    masks: Masks
    captions: tuple[CaptionTemplate, ...] = Field(min_length=1)
    caption_dropout: Fraction
    save_every_steps: PositiveInt
    keep_states: PositiveInt
    save_dtype: Literal["float16", "float32", "bfloat16"]
    gradient_checkpointing: bool
    compile: bool
    look: Monitor
    prior: Prior
    dreambooth: Dreambooth
    full: Full
    lora: Lora
    lokr: Lokr
    loha: Loha
    textual_inversion: Tokens
    pivotal: Tokens

    @field_validator("snapshots")
    @classmethod
    def _are_reached(cls, snapshots: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        last = info.data.get("steps", max(snapshots))  # absent when `steps` itself is wrong
        if late := [step for step in snapshots if step > last]:
            raise ValueError(f"step {late[0]} is never reached, since train.steps is {last}")
        return tuple(sorted(set(snapshots)))
