"""A project that is ready to be trained: a tiny base, a few curated pictures, a verdict without failures."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from ruamel.yaml import YAML

from pipeline.core import params as params_module
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Subject
from pipeline.core.training_params import Train
from pipeline.families import family
from pipeline.methods import method
from pipeline.train import _training_run
from pipeline.training import preflight
from pipeline.training.checkpoint.identity import Identity
from pipeline.training.data.latent_cache import TrainingImage
from pipeline.training.training_run import TrainingRun
from tests.project import ROOT, edit_params, merge

SPECIES = "dodo"
QUICK = {
    "method": "dreambooth",
    "steps": 6,
    "snapshots": [2, 6],
    "batch_size": 4,
    "resolution_px": 16,
    "save_every_steps": 3,
    "learning_rate": 1e-3,
    "warmup_steps": 2,
    "save_dtype": "float32",
}


def make_project(root: Path, base: Path, **train: Any) -> Paths:
    """Write params.yaml, `data/curated/dodo` and its verdict below `root`."""
    shutil.copy(ROOT / "params.yaml", root / "params.yaml")
    changes = {**QUICK, **train}
    changes["prior"] = {"images": 3, **changes.get("prior", {})}
    clip = str(ROOT / "pipeline/assets/tiny")
    edit_params(root, {"base": {"path": str(base), "clip": clip}, "train": changes})
    _only_dodo(root / "params.yaml")
    paths = Paths(root, SPECIES)
    _curate(paths)
    return paths


def load(paths: Paths) -> Params:
    return params_module.load(paths.params)


def change(paths: Paths, **train: Any) -> Params:
    """Edit the `train` section on disk and read it again."""
    edit_params(paths.root, {"train": train})
    return load(paths)


def training_run(paths: Paths, **train: Any) -> TrainingRun:
    """The training run of a project whose `train` section was edited."""
    return _training_run(change(paths, **train), paths)


def train_params(**changes: Any) -> Train:
    """The shipped `train` section with other values; a dict changes some values of a section, or of a method's own."""
    raw = copy.deepcopy(_shipped())
    merge(raw["train"], changes)
    return params_module.parse(json.dumps(raw), "params.yaml").train


def preflight_log(base: Path, train: Train, subject: Subject, pictures: Sequence[TrainingImage]) -> list[str]:
    """What the preflight checks of a training on a base of the family `sd` log."""
    run = TrainingRun(
        family=family("sd"),
        method=method(train.method),
        base=base,
        subject=subject,
        pictures=tuple(pictures),
        holdout=(),
        prior_prompt="",
        train=train,
        seed=0,
        metadata={},
        identity=Identity(subject.key, "", "", {}, ""),
    )
    logged: list[str] = []
    preflight.check(run, logged.append)
    return logged


@cache
def _shipped() -> dict[str, Any]:
    return YAML(typ="safe").load(ROOT / "params.yaml")


def _only_dodo(path: Path) -> None:
    yaml = YAML()
    content = yaml.load(path)
    source = {"kind": "folder", "path": "pictures", "licence": "CC0-1.0"}
    content["species"] = {SPECIES: {"name": "Raphus cucullatus", "class_noun": "bird", "sources": [source]}}
    yaml.dump(content, path)


def _curate(paths: Paths) -> None:
    rows = [_picture(paths.curated, number) for number in range(6)]
    pd.DataFrame(rows).to_parquet(paths.curated / "metadata.parquet")
    (paths.curated / "card.json").write_text(json.dumps({"stage": "curate", "digest": "d1"}))
    paths.validation.mkdir(parents=True)
    verdict = {"success": True, "stopped": [], "dataset_digest": "d1"}
    (paths.validation / "verdict.json").write_text(json.dumps(verdict))


def _picture(curated: Path, number: int) -> dict[str, str]:
    split = "holdout" if number == 5 else "train"
    name = f"{split}/{number:016x}.png"
    (curated / split).mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (20, 24 + number, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(curated / name)
    return {"file_name": name, "split": split, "caption": f"a painting number {number}"}
