"""Training: overhead of the loop, speed against an example of diffusers, latent cache and peak memory.

    python -m benchmarks training [--diffusers-example …/examples/dreambooth/train_dreambooth_lora.py]

On a CPU it takes four minutes: the embedded base as the demo trains it, and a scaled-down Stable Diffusion with random
weights, whose VAE encoder is to its UNet what those of SD 1.5 are to each other. On a GPU it also takes Stable
Diffusion 1.5 at 512 px and XL at 1024 px, with random weights. Nothing is downloaded. What is
compared is measured alternately, in rounds of a few steps; a ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks import (
    diffusers_example,
    encoding_cache,
    gpu_training,
    loop_overhead,
    model_configs,
    peak_memory,
    random_models,
)
from benchmarks.claims import Claim
from benchmarks.interleaved import Rounds
from benchmarks.model_configs import ModelConfig
from benchmarks.project import ROOT
from benchmarks.training_runs import TrainingSetting

EMBEDDED = ROOT / "pipeline/assets/tiny"
ROUNDS = Rounds(rounds=8, steps=2, warm_up=3)
CPU = ("cpu", "no")  # device and precision


def measure(folder: Path) -> list[Claim]:
    claims = embedded(folder / "embedded") + scaled_down(folder / "small")
    return claims + gpu_training.measure(folder / "gpu") if torch.cuda.is_available() else claims


def embedded(folder: Path) -> list[Claim]:
    """As the demo trains it: in `dreambooth` the text encoder is trained too, in the model alone as well."""
    claims: list[Claim] = []
    for method, rounds, steps in (("dreambooth", 10, 4), ("lora", 10, 8)):
        setting = TrainingSetting("sd", EMBEDDED, 64, {"method": method})
        name = f"embedded base, {method}"
        claims += loop_overhead.measure(setting, name, folder / method, *CPU, Rounds(rounds, steps))
    return claims


def scaled_down(folder: Path, config: ModelConfig = model_configs.SMALL, rounds: Rounds = ROUNDS) -> list[Claim]:
    base, cost = random_models.write(config, folder / "base"), random_models.cost(config, rank=16)
    name, lora = "scaled-down SD, lora", _setting(base, config)
    with_prior, full = _setting(base, config, prior={"images": 4}), _setting(base, config, method="dreambooth")
    return [
        Claim("scaled-down SD: FLOPs of the VAE's encoder, of the UNet's", cost.vae / cost.unet, "x"),
        *loop_overhead.measure(lora, name, folder / "overhead", *CPU, rounds),
        *diffusers_example.measure(lora, name, folder / "diffusers", *CPU, rounds, at_least=1.4),
        *encoding_cache.measure(with_prior, name, folder / "encoding", *CPU),
        peak_memory.measure(full, "scaled-down SD, dreambooth", folder / "memory", *CPU),
    ]


def _setting(base: Path, config: ModelConfig, **changes: Any) -> TrainingSetting:
    shared = {"method": "lora", "batch_size": 2, "prior": {"images": 0}, "dreambooth": {"train_text_encoder": False}}
    return TrainingSetting("sd", base, config.side_px, shared | changes)
