"""What a second training on the same pictures saves by the latent cache: encoding, and drawing of prior pictures."""

from __future__ import annotations

import time
from pathlib import Path

from accelerate import Accelerator

from benchmarks import training_runs
from benchmarks.claims import Claim
from benchmarks.training_runs import TrainingSetting
from benchmarks.worker import run_worker
from pipeline.training.data import latent_cache
from pipeline.training.data.dataset import EncodingContext, encode_dataset
from pipeline.training.data.latent_cache import LatentCache, vae_digest


def measure(setting: TrainingSetting, name: str, folder: Path, device: str, precision: str) -> list[Claim]:
    """The first and the second time, each in a process of its own."""
    first, second = (run_worker("encoding_cache", setting, folder, device, precision) for _ in range(2))
    share = 100 * second["encoding_seconds"] / first["encoding_seconds"]
    return [
        Claim(f"{name}: encoding and drawing, the first time", first["encoding_seconds"], "s"),
        Claim(f"{name}: the second time, of the first", share, "%", at_most=5),
        Claim(f"{name}: the second time, with loading and attaching", second["total_seconds"], "s"),
    ]


def run_in_worker(setting: TrainingSetting, accelerator: Accelerator, folder: Path) -> dict[str, float]:
    """Seconds of what is cached, and then of everything before the first step."""
    encoding_seconds = _encoding_seconds(setting, accelerator, folder / "cache")
    started_s = time.perf_counter()
    training_runs.training_job(setting, accelerator, folder / "cache")
    return {"encoding_seconds": encoding_seconds, "total_seconds": time.perf_counter() - started_s}


def _encoding_seconds(setting: TrainingSetting, accelerator: Accelerator, folder: Path) -> float:
    """From the loaded model to all that the loop reads, as `training.task.prepare` does it."""
    run = training_runs.training_run(setting)
    components = run.family.load(run.base, accelerator.device)
    started_s = time.perf_counter()
    cache = LatentCache(folder, run.metadata["base_digest"], accelerator.mixed_precision, vae_digest(run.base))
    context = EncodingContext(components, cache, run.seed, accelerator.autocast)
    examples = encode_dataset(run.train, run.pictures, run.prior, context)
    latent_cache.conditioning(cache, components, examples.sentences)
    return time.perf_counter() - started_s
