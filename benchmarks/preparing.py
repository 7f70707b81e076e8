"""What a second training on the same pictures is spared: encoding, and drawing of prior pictures."""

from __future__ import annotations

import time
from pathlib import Path

from accelerate import Accelerator

from benchmarks import child, jobs
from benchmarks.claims import Claim
from benchmarks.jobs import Setting
from pipeline.training.data import latent_cache
from pipeline.training.data.dataset import EncodingContext, Prior, encode_dataset
from pipeline.training.data.latent_cache import LatentCache, vae_digest


def measure(setting: Setting, name: str, folder: Path, device: str, precision: str) -> list[Claim]:
    """The first and the second time, each in a process of its own."""
    first, second = (child.ask("preparing", setting, folder, device, precision) for _ in range(2))
    share = 100 * second["looking"] / first["looking"]
    return [
        Claim(f"{name}: encoding and drawing, the first time", first["looking"], "s"),
        Claim(f"{name}: the second time, of the first", share, "%", at_most=5),
        Claim(f"{name}: the second time, with loading and attaching", second["whole"], "s"),
    ]


def answer(setting: Setting, accelerator: Accelerator, folder: Path) -> dict[str, float]:
    """Seconds of what is cached, and then of everything before the first step."""
    looking = _seconds(setting, accelerator, folder / "cache")
    begun = time.perf_counter()
    jobs.job(setting, accelerator, folder / "cache")
    return {"looking": looking, "whole": time.perf_counter() - begun}


def _seconds(setting: Setting, accelerator: Accelerator, folder: Path) -> float:
    """From the loaded model to all that the loop reads, as `training.prepare` does it."""
    wanted = jobs.task(setting)
    parts = wanted.family.load(wanted.base, accelerator.device)
    begun = time.perf_counter()
    store = LatentCache(folder, wanted.stamp["base_digest"], accelerator.mixed_precision, vae_digest(wanted.base))
    prior = Prior(wanted.prior_prompt, wanted.train.prior.images)
    examples = encode_dataset(
        wanted.train, wanted.pictures, prior, EncodingContext(parts, store, wanted.seed, accelerator.autocast)
    )
    latent_cache.conditioning(store, parts, examples.sentences)
    return time.perf_counter() - begun
