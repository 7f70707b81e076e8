"""A training that says how many steps it has taken, and goes on until it is killed; see `turns`."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from benchmarks import bare
from benchmarks.jobs import Setting
from benchmarks.turns import ENDLESS


def answer(setting: Setting, accelerator: Accelerator, folder: Path) -> None:
    job = bare.prepared(setting, accelerator, folder)
    bare.train(job, accelerator, folder, ENDLESS, lambda told: print(f"{told.step}/{ENDLESS} [", flush=True))
