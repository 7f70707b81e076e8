"""A training that prints how many steps it has taken, and goes on until it is killed; see `interleaved`."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from benchmarks import loop_overhead
from benchmarks.interleaved import UNLIMITED_STEPS
from benchmarks.training_runs import TrainingSetting


def run_in_worker(setting: TrainingSetting, accelerator: Accelerator, folder: Path) -> None:
    job = loop_overhead.unlimited_job(setting, accelerator, folder)
    loop_overhead.train(
        job,
        accelerator,
        folder,
        UNLIMITED_STEPS,
        lambda report: print(f"{report.step}/{UNLIMITED_STEPS} [", flush=True),
    )
