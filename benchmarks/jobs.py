"""Trainings as the train stage makes them, of made-up pictures on a given base."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from PIL import Image

from benchmarks.project import ROOT
from pipeline.core import params as params_module
from pipeline.core.records import Subject
from pipeline.core.training_params import Train
from pipeline.training.checkpoint.identity import Identity
from pipeline.training.data.latent_cache import TrainingImage
from pipeline.training.loop import TrainingJob
from pipeline.training.task import TrainingRun, prepare

N_PICTURES = 8
SENTENCE = "dodo, a painting"


@dataclass(frozen=True)
class Setting:
    """What is trained, and how: `train` is the shipped section of params.yaml with some changes."""

    family: str
    base: Path
    side_px: int
    changes: dict[str, Any]

    @property
    def train(self) -> Train:
        shipped = params_module.load(ROOT / "params.yaml").train.model_dump()
        steps = self.changes.get("steps", shipped["steps"])
        given = {"snapshots": (steps,), "resolution_px": self.side_px}
        return Train.model_validate(_merged(shipped, given, self.changes))


def task(setting: Setting) -> TrainingRun:
    train = setting.train
    return TrainingRun(
        family=setting.family,
        base=setting.base,
        subject=Subject("dodo", "dodo", "bird"),
        pictures=tuple(
            TrainingImage(f"{number}.png", content, SENTENCE) for number, content in enumerate(pictures(setting))
        ),
        holdout=(),
        prior_prompt="a painting of a bird",
        train=train,
        seed=0,
        metadata={"lineage_id": "benchmark", "base_digest": str(setting.base), "dataset_digest": "benchmark"},
        identity=Identity("dodo", "benchmark", str(setting.base), {}, "benchmark"),
    )


def job(setting: Setting, accelerator: Accelerator, cache: Path) -> TrainingJob:
    """Ready for the loop; what it looks at once is kept in `cache`."""
    return prepare(task(setting), accelerator, cache)


def pictures(setting: Setting) -> list[bytes]:
    """At least a batch of them, or the example would take smaller batches; PNG, a third wider than high."""
    rng, found = np.random.default_rng(7), []
    for _ in range(max(N_PICTURES, setting.train.batch_size)):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        stream = io.BytesIO()
        coarse.resize((setting.side_px * 4 // 3, setting.side_px), Image.Resampling.BICUBIC).save(stream, "PNG")
        found.append(stream.getvalue())
    return found


def _merged(base: dict[str, Any], *changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with each change in it; sections are merged too."""
    for change in changes:
        for key, value in change.items():
            inner = isinstance(value, dict) and isinstance(base.get(key), dict)
            base = base | {key: _merged(base[key], value) if inner else value}
    return base
