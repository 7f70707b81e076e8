"""The section `train` of params.yaml: what is trained, on what, how fast, and what is monitored meanwhile.

A method's own section, such as `train.lora`, belongs to the method: see `pipeline.methods`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from pipeline.core.param_types import (
    BatchSize,
    CaptionTemplate,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SamplerSteps,
    Section,
    Seed,
    SidePx,
    Steps,
)
from pipeline.core.prompts import Template


class Buckets(Section):
    """Aspect-ratio buckets: shapes that pictures may have in training."""

    max_aspect: Annotated[float, Field(ge=1)] = 1.0
    """Longer by shorter side; 1.0: squares, the middle of each picture."""
    step_px: SidePx = 8


class Masks(Section):
    """Loss masks: data/masks/<species>/<picture>.png, white where the picture counts."""

    background_weight: Fraction = 1.0
    """Weight of the loss where the mask is black."""


class Loss(Section):
    kind: Literal["mse", "huber"] = "mse"
    huber_delta: PositiveFloat = 0.1
    min_snr_gamma: NonNegativeFloat = 0.0
    """5: nearly noiseless steps count no more than their share (Hang et al. 2023); 0: off."""
    noise_offset: NonNegativeFloat = 0.0
    """0.05: brighter and darker pictures than the base draws."""
    zero_terminal_snr: bool = False
    """The last step is pure noise (Lin et al. 2024); for weights that predict v."""
    timesteps: Literal["uniform", "logit_normal"] = "uniform"
    """logit_normal: more of the middle (Esser et al. 2024)."""


class Prior(Section):
    """Prior preservation, so that the class is not forgotten."""

    kind: Literal["pictures", "teacher"] = "pictures"
    """pictures of the class by the base | teacher: the frozen base's own predictions."""
    weight: NonNegativeFloat = 0.3
    """Beside 1 for the species: 0.3 / 1.3 of the examples."""
    images: NonNegativeInt = 16
    prompt: Template = "a painting of a {class_noun}"


class Monitor(Section):
    """Held-out loss and previews, before the first step and at every snapshot; changes nothing of the result."""

    timesteps: NonNegativeInt = 8
    """Held-out loss at so many, with the same noise each time; 0: none."""
    pictures: PositiveInt = 16
    """Held-out ones, at most."""
    prompts: tuple[Template, ...] = ("{name}", "{name} flying in the forest")
    seeds: tuple[Seed, ...] = (1, 2)
    steps: SamplerSteps = 10
    """Of DDIM."""


class Train(Section):
    method: str = "dreambooth"
    """lora | lokr | loha | dreambooth | textual_inversion | pivotal | full (from scratch)."""
    steps: Steps = 500
    snapshots: tuple[PositiveInt, ...] = Field(default=(50, 250, 500), min_length=1)
    """One trajectory, sampled at these steps."""
    batch_size: BatchSize = 8
    """Global, whatever the number of processes."""
    resolution_px: SidePx = 64
    """Side of a square; with buckets the shape changes and the area stays."""
    buckets: Buckets = Buckets()
    learning_rate: PositiveFloat = 3.0e-4
    lr_schedule: str = "constant"
    """constant | linear | cosine: after the warm-up, down to zero at the last step."""
    warmup_steps: NonNegativeInt = 20
    optimiser: str = "adamw"
    """adamw | adamw8bit | adafactor (learning_rate about 1e-2) | prodigy (1.0)."""
    weight_decay: NonNegativeFloat = 0.01
    max_gradient_norm: PositiveFloat = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Above 0, such as 0.999: snapshots hold the exponential moving average of the weights."""
    loss: Loss = Loss()
    horizontal_flip: bool = False
    """Flips half of the examples; pictures that face one way only are easier for a small base."""
    masks: Masks = Masks()
    captions: tuple[CaptionTemplate, ...] = Field(default=("{caption}",), min_length=1)
    """One for each example by chance: {caption}, {name}, {class_noun}."""
    caption_dropout: Fraction = 0.1
    """Share of examples trained without caption, for classifier-free guidance."""
    save_every_steps: PositiveInt = 100
    """Resumable training state."""
    keep_states: PositiveInt = 2
    """Of them; the newest whole one is continued."""
    save_dtype: Literal["float16", "float32", "bfloat16"] = "float16"
    gradient_checkpointing: bool = False
    """Less memory, a third more time."""
    compile: bool = False
    """torch.compile: minutes at the start, faster steps on a GPU."""
    monitor: Monitor = Monitor()
    prior: Prior = Prior()

    @field_validator("snapshots")
    @classmethod
    def _are_reached(cls, snapshots: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        last = info.data.get("steps", max(snapshots))  # absent when `steps` itself is wrong
        if late := [step for step in snapshots if step > last]:
            raise ValueError(f"step {late[0]} is never reached, since train.steps is {last}")
        return tuple(sorted(set(snapshots)))
