"""Training runs as the train stage makes them, on made-up pictures and a given base."""

from __future__ import annotations

import io
import json
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
from pipeline.families import family
from pipeline.methods import method
from pipeline.training.checkpoint.identity import Identity
from pipeline.training.data.latent_cache import TrainingImage
from pipeline.training.loop import TrainingJob
from pipeline.training.task import TrainingRun, prepare

N_PICTURES = 8
CAPTION = "dodo, a painting"


@dataclass(frozen=True)
class TrainingSetting:
    """What is trained, and how: `changes` are made to the section `train` of the shipped params.yaml."""

    family: str
    base: Path
    side_px: int
    changes: dict[str, Any]

    @property
    def train(self) -> Train:
        """The section with the changes; plugins' sections are checked as in params.yaml."""
        shipped = params_module.load(ROOT / "params.yaml").model_dump(mode="json", by_alias=True)
        steps = self.changes.get("steps", shipped["train"]["steps"])
        settings = {"snapshots": [steps], "resolution_px": self.side_px}
        changed = shipped | {"train": _merged(shipped["train"], settings, self.changes)}
        # JSON is YAML
        return params_module.parse(json.dumps(changed), "params.yaml").train


def training_run(setting: TrainingSetting) -> TrainingRun:
    train = setting.train
    return TrainingRun(
        family=family(setting.family),
        method=method(train.method),
        base=setting.base,
        subject=Subject("dodo", "dodo", "bird"),
        pictures=tuple(
            TrainingImage(f"{number}.png", content, CAPTION) for number, content in enumerate(pictures(setting))
        ),
        holdout=(),
        prior_prompt="a painting of a bird",
        train=train,
        seed=0,
        metadata={"lineage_id": "benchmark", "base_digest": str(setting.base), "dataset_digest": "benchmark"},
        identity=Identity("dodo", "benchmark", str(setting.base), {}, "benchmark"),
    )


def training_job(setting: TrainingSetting, accelerator: Accelerator, cache: Path) -> TrainingJob:
    """Ready for the loop; what is encoded once is kept in `cache`."""
    return prepare(training_run(setting), accelerator, cache)


def pictures(setting: TrainingSetting) -> list[bytes]:
    """At least a batch of them, or diffusers' example would take smaller batches; PNG, a third wider than high."""
    rng = np.random.default_rng(7)
    contents = []
    for _ in range(max(N_PICTURES, setting.train.batch_size)):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        stream = io.BytesIO()
        coarse.resize((setting.side_px * 4 // 3, setting.side_px), Image.Resampling.BICUBIC).save(stream, "PNG")
        contents.append(stream.getvalue())
    return contents


def _merged(base: dict[str, Any], *changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with each change in it; sections are merged too."""
    for change in changes:
        for key, value in change.items():
            is_section = isinstance(value, dict) and isinstance(base.get(key), dict)
            base = base | {key: _merged(base[key], value) if is_section else value}
    return base
