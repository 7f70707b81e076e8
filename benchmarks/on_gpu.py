"""Stable Diffusion 1.5 and XL with random weights on one GPU, LoRA in bf16: seconds, TFLOP/s, share of the peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import bare, memory, models, peer, shapes
from benchmarks.claims import Claim
from benchmarks.jobs import Setting
from benchmarks.shapes import Shape
from benchmarks.turns import Effort

RANK = 16
PEAK_TFLOPS = {"H200": 989, "H100": 989, "A100": 312}  # bf16 with fp32 sums, dense, by NVIDIA's data sheets


@dataclass(frozen=True)
class Case:
    """A model, by how much the example must be slower, and how many pictures a step has.

    So many that the GPU has more to do than the CPU can tell it, and that both trainings find room in 139 GiB.
    """

    name: str
    shape: Shape
    batch_size: int
    at_least: float


CASES = (Case("SD 1.5, 512 px", shapes.SD15, 16, 1.5), Case("SDXL, 1024 px", shapes.SDXL, 4, 1.3))
EFFORT = Effort(rounds=4, size=10, warm_up=10)  # the loop tells of ten steps at once


def measure(folder: Path, cases: Sequence[Case] = CASES, device: str = "cuda", effort: Effort = EFFORT) -> list[Claim]:
    """`device` "cpu" is for trying this out with small shapes."""
    return [claim for number, case in enumerate(cases) for claim in _case(case, folder / str(number), device, effort)]


def _case(case: Case, folder: Path, device: str, effort: Effort) -> list[Claim]:
    base = models.write(case.shape, folder / "base", device, torch.bfloat16)
    if device == "cuda":
        torch.cuda.empty_cache()
    changes = {"method": "lora", "batch_size": case.batch_size, "prior": {"images": 0}, "lora": {"rank": RANK}}
    setting = Setting(case.shape.family, base, case.shape.side_px, changes)
    name = f"{case.name}, lora, batch {case.batch_size}, bf16"
    raced = peer.measure(setting, name, folder / "peer", device, "bf16", effort, case.at_least)
    seconds = next(claim.value for claim in raced if claim.what.endswith("ours"))
    return [
        *raced,
        *_absolute(name, seconds, case.batch_size * models.cost(case.shape, RANK).step, device),
        *bare.measure(setting, name, folder / "bare", device, "bf16", effort),
        memory.measure(setting, name, folder / "memory", device, "bf16"),
    ]


def _absolute(name: str, seconds: float, flops: float, device: str) -> list[Claim]:
    tflops = flops / seconds / 1e12
    claims = [Claim(f"{name}: forward and backward", tflops, "TFLOP/s")]
    if peak := _peak(device):
        claims.append(Claim(f"{name}: share of the GPU's peak", 100 * tflops / peak, "%"))
    return claims


def _peak(device: str) -> float | None:
    """None for a GPU that is not in the table."""
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    return next((peak for model, peak in PEAK_TFLOPS.items() if model in name), None)
