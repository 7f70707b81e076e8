"""Peak memory of a training: in the loop, or of the model alone.

Both have prepared the same training, so they have the same weights and the same latents. What the loop needs more is
its own, beyond weights, optimiser and activations. On the CPU it is the peak of resident memory since the training was
prepared (`clear_refs` of Linux), on a GPU that of torch's allocator.
"""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator

from benchmarks import loop_overhead
from benchmarks.claims import Claim
from benchmarks.training_runs import TrainingSetting
from benchmarks.worker import run_worker

STEPS = 4


def measure(setting: TrainingSetting, name: str, folder: Path, device: str, precision: str) -> Claim:
    """Each in a process of its own; the first one only fills the cache, so that neither has to encode."""
    peaks = [
        run_worker("peak_memory", setting, folder, device, precision, steps=steps, loop=loop)
        for steps, loop in ((0, 0), (STEPS, 1), (STEPS, 0))
    ]
    more = (peaks[1] - peaks[2]) / 1e6
    return Claim(f"{name}: memory of the loop beyond weights, optimiser, activations", more, "MB", at_most=200)


def run_in_worker(setting: TrainingSetting, accelerator: Accelerator, folder: Path, steps: int, loop: int) -> int:
    """The peak in bytes; `loop` 0: of the model alone."""
    job = loop_overhead.unlimited_job(setting, accelerator, folder)
    step = None if loop else loop_overhead.model_step(job, setting, accelerator)
    _reset_peak(accelerator)
    if step:
        loop_overhead.time_steps(step, steps, accelerator)
    else:
        loop_overhead.train(job, accelerator, folder / "states", steps, lambda report: None)
    return _peak_bytes(accelerator)


def _reset_peak(accelerator: Accelerator) -> None:
    if accelerator.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes(accelerator: Accelerator) -> int:
    if accelerator.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
