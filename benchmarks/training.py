"""The training engine: beside the bare model, beside an example of diffusers, its caches and its memory.

    python -m benchmarks training [--peer …/examples/dreambooth/train_dreambooth_lora.py]

On a CPU it takes four minutes: the embedded base as the demo trains it, and a scaled-down Stable Diffusion with random
weights, whose VAE encoder is to its UNet what those of SD 1.5 are to each other. On a GPU it also takes Stable
Diffusion 1.5 at 512 px and XL at 1024 px, with random weights of the true shapes. Nothing is downloaded. Every ratio is
of things measured in turns, in rounds of a few steps; it is the median of the rounds' own ratios.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks import bare, memory, models, on_gpu, peer, preparing, shapes
from benchmarks.claims import Claim
from benchmarks.jobs import Setting
from benchmarks.project import ROOT
from benchmarks.shapes import Shape
from benchmarks.turns import Effort

EMBEDDED = ROOT / "pipeline/assets/tiny"
EFFORT = Effort(rounds=8, size=2, warm_up=3)
HERE = ("cpu", "no")  # device and precision


def measure(folder: Path) -> list[Claim]:
    claims = embedded(folder / "embedded") + scaled_down(folder / "small")
    return claims + on_gpu.measure(folder / "gpu") if torch.cuda.is_available() else claims


def embedded(folder: Path) -> list[Claim]:
    """As the demo trains it: in `dreambooth` the text encoder learns too, in the bare model as well."""
    claims: list[Claim] = []
    for method, rounds, size in (("dreambooth", 10, 4), ("lora", 10, 8)):
        setting = Setting("sd", EMBEDDED, 64, {"method": method})
        claims += bare.measure(setting, f"embedded base, {method}", folder / method, *HERE, Effort(rounds, size))
    return claims


def scaled_down(folder: Path, shape: Shape = shapes.SMALL, effort: Effort = EFFORT) -> list[Claim]:
    base, cost = models.write(shape, folder / "base"), models.cost(shape, rank=16)
    lora, name = _setting(base, shape), "scaled-down SD, lora"
    drawn, full = _setting(base, shape, prior={"images": 4}), _setting(base, shape, method="dreambooth")
    return [
        Claim("scaled-down SD: FLOPs of the VAE's encoder, of the UNet's", cost.vae / cost.unet, "x"),
        *bare.measure(lora, name, folder / "bare", *HERE, effort),
        *peer.measure(lora, name, folder / "peer", *HERE, effort, at_least=1.4),
        *preparing.measure(drawn, name, folder / "preparing", *HERE),
        memory.measure(full, "scaled-down SD, dreambooth", folder / "memory", *HERE),
    ]


def _setting(base: Path, shape: Shape, **changes: Any) -> Setting:
    wanted = {"method": "lora", "batch_size": 2, "prior": {"images": 0}, "dreambooth": {"train_text_encoder": False}}
    return Setting("sd", base, shape.side_px, wanted | changes)
