"""Settings of `paleo pretrain`; the defaults made the embedded model.

Their names are part of the cached states' names and of the model's card.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class DrawingSettings:
    """How many drawings of the wider world; the held-out drawings follow the training ones in the same sequence."""

    seed: int = 0
    count: int = 12_000
    held_out: int = 600
    drawn_px: int = 256
    image_px: int = 64


@dataclass(frozen=True)
class Phase:
    """One optimisation: how long, how much at a time, how fast."""

    steps: int
    batch: int
    peak_rate: float
    warmup_steps: int = 200
    decay_share: float = 1.0
    cycles: int = 1  # the schedule restarts so many times (Loshchilov and Hutter 2017)
    weight_decay: float = 0.01
    save_every: int = 250

    def scaled(self, scale: float) -> Phase:
        return replace(
            self,
            steps=_scaled(self.steps, scale),
            warmup_steps=_scaled(self.warmup_steps, scale),
            save_every=_scaled(self.save_every, scale),
        )


@dataclass(frozen=True)
class TextSettings:
    vocabulary: int = 1100
    context: int = 48
    width: int = 128
    layers: int = 3
    heads: int = 4
    inner: int = 256


@dataclass(frozen=True)
class ClipSettings:
    phase: Phase = Phase(steps=3_600, batch=96, peak_rate=1e-3, weight_decay=0.05, cycles=2)
    width: int = 128
    layers: int = 6
    heads: int = 4
    inner: int = 256
    patch_px: int = 8
    projection: int = 128


@dataclass(frozen=True)
class AutoencoderSettings:
    phase: Phase = Phase(steps=4_500, batch=16, peak_rate=2e-3, weight_decay=0.0, decay_share=0.6)
    channels: tuple[int, ...] = (16, 32, 64)  # two halvings: a third one blurs these drawings
    latent_channels: int = 8
    kl_weight: float = 1e-8
    first_log_variance: float = -8.0


@dataclass(frozen=True)
class DenoiserSettings:
    phase: Phase = Phase(steps=15_000, batch=32, peak_rate=7e-4, warmup_steps=300, decay_share=0.35)
    channels: tuple[int, ...] = (48, 96, 128)
    attention: tuple[bool, ...] = (False, True, True)  # the 256 cells above get the text through those below
    norm_groups: int = 16
    heads: int = 4
    snr_limit: float = 5.0  # the last, nearly noiseless steps are about texture; they count no more than this
    ema_decay: float = 0.999
    empty_prompt_share: float = 0.1


@dataclass(frozen=True)
class FinishSettings:
    """The denoiser's last steps, with every animal turned to the right.

    It learns more from both headings, but a network of this size then draws animals with a head at either end.
    """

    phase: Phase = Phase(steps=4_000, batch=32, peak_rate=5e-4, warmup_steps=100, decay_share=0.7)


@dataclass(frozen=True)
class SampleSettings:
    """The pictures by which the finished model is measured."""

    pictures: int = 8
    steps: int = 25
    guidance: float = 2.5


@dataclass(frozen=True)
class Settings:
    drawings: DrawingSettings = field(default_factory=DrawingSettings)
    text: TextSettings = field(default_factory=TextSettings)
    autoencoder: AutoencoderSettings = field(default_factory=AutoencoderSettings)
    clip: ClipSettings = field(default_factory=ClipSettings)
    denoiser: DenoiserSettings = field(default_factory=DenoiserSettings)
    finish: FinishSettings = field(default_factory=FinishSettings)
    samples: SampleSettings = field(default_factory=SampleSettings)

    @property
    def seed(self) -> int:
        return self.drawings.seed

    def with_seed(self, seed: int) -> Settings:
        return replace(self, drawings=replace(self.drawings, seed=seed))

    def scaled(self, scale: float) -> Settings:
        """Fewer drawings and steps for the same networks."""
        drawings = replace(
            self.drawings, count=_scaled(self.drawings.count, scale), held_out=_scaled(self.drawings.held_out, scale)
        )
        return replace(
            self,
            drawings=drawings,
            autoencoder=replace(self.autoencoder, phase=self.autoencoder.phase.scaled(scale)),
            clip=replace(self.clip, phase=self.clip.phase.scaled(scale)),
            denoiser=replace(self.denoiser, phase=self.denoiser.phase.scaled(scale)),
            finish=replace(self.finish, phase=self.finish.phase.scaled(scale)),
        )


def digest(*sections: Any) -> str:
    """A short name for the settings (dataclasses) that a piece of work depends on."""
    text = json.dumps([asdict(section) for section in sections], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _scaled(number: int, scale: float) -> int:
    return max(2, round(number * scale))
