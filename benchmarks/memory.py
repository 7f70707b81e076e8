"""The most memory that a training holds: in the loop, or as the bare model takes its steps.

Both have prepared the same training, so they have the same weights and the same latents. What is more in the loop is
its own, beyond weights, optimiser and activations. On the CPU it is the peak of resident memory since the training was
prepared (`clear_refs` of Linux), on a GPU that of torch's allocator.
"""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator

from benchmarks import bare, child
from benchmarks.claims import Claim
from benchmarks.jobs import Setting

STEPS = 4


def measure(setting: Setting, name: str, folder: Path, device: str, precision: str) -> Claim:
    """Each in a process of its own; the first one only fills the cache, so that neither has to encode."""
    peaks = [
        child.ask("memory", setting, folder, device, precision, steps=steps, loop=loop)
        for steps, loop in ((0, 0), (STEPS, 1), (STEPS, 0))
    ]
    more = (peaks[1] - peaks[2]) / 1e6
    return Claim(f"{name}: memory of the loop beyond weights, optimiser, activations", more, "MB", at_most=200)


def answer(setting: Setting, accelerator: Accelerator, folder: Path, steps: int, loop: int) -> int:
    """The peak in bytes."""
    job = bare.prepared(setting, accelerator, folder)
    step = None if loop else bare.bare_step(job, setting, accelerator)
    _forget_peak(accelerator)
    if step:
        bare.timed(step, steps, accelerator)
    else:
        bare.train(job, accelerator, folder / "saves", steps, lambda told: None)
    return _peak_bytes(accelerator)


def _forget_peak(accelerator: Accelerator) -> None:
    if accelerator.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes(accelerator: Accelerator) -> int:
    if accelerator.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
