"""Training Stable Diffusion 1.5 and XL with random weights on one GPU, LoRA in bf16: seconds, TFLOP/s, peak share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import diffusers_example, loop_overhead, model_configs, peak_memory, random_models
from benchmarks.claims import Claim
from benchmarks.interleaved import Rounds
from benchmarks.model_configs import ModelConfig
from benchmarks.training_runs import TrainingSetting

RANK = 16
PEAK_TFLOPS = {"H200": 989, "H100": 989, "A100": 312}  # bf16 with fp32 sums, dense, by NVIDIA's data sheets


@dataclass(frozen=True)
class Case:
    """A model, by how much the example must be slower, and how many pictures a step has.

    So many that the GPU and not the CPU is the bottleneck, and that both trainings fit into 139 GiB.
    """

    name: str
    config: ModelConfig
    batch_size: int
    at_least: float


CASES = (Case("SD 1.5, 512 px", model_configs.SD15, 16, 1.5), Case("SDXL, 1024 px", model_configs.SDXL, 4, 1.3))
ROUNDS = Rounds(rounds=4, steps=10, warm_up=10)  # the loop reports ten steps at once


def measure(folder: Path, cases: Sequence[Case] = CASES, device: str = "cuda", rounds: Rounds = ROUNDS) -> list[Claim]:
    """`device` "cpu" is for trying this out with small shapes."""
    return [claim for number, case in enumerate(cases) for claim in _case(case, folder / str(number), device, rounds)]


def _case(case: Case, folder: Path, device: str, rounds: Rounds) -> list[Claim]:
    base = random_models.write(case.config, folder / "base", device, torch.bfloat16)
    if device == "cuda":
        torch.cuda.empty_cache()
    changes = {"method": "lora", "batch_size": case.batch_size, "prior": {"images": 0}, "lora": {"rank": RANK}}
    setting = TrainingSetting(case.config.family, base, case.config.side_px, changes)
    name = f"{case.name}, lora, batch {case.batch_size}, bf16"
    compared = diffusers_example.measure(setting, name, folder / "diffusers", device, "bf16", rounds, case.at_least)
    seconds = next(claim.value for claim in compared if claim.what.endswith("ours"))
    return [
        *compared,
        *_throughput(name, seconds, case.batch_size * random_models.cost(case.config, RANK).step, device),
        *loop_overhead.measure(setting, name, folder / "overhead", device, "bf16", rounds),
        peak_memory.measure(setting, name, folder / "memory", device, "bf16"),
    ]


def _throughput(name: str, seconds: float, flops: float, device: str) -> list[Claim]:
    tflops = flops / seconds / 1e12
    claims = [Claim(f"{name}: forward and backward", tflops, "TFLOP/s")]
    if peak := _peak_tflops(device):
        claims.append(Claim(f"{name}: share of the GPU's peak", 100 * tflops / peak, "%"))
    return claims


def _peak_tflops(device: str) -> float | None:
    """None for a GPU that is not in the table."""
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    return next((peak for model, peak in PEAK_TFLOPS.items() if model in name), None)
