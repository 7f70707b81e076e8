"""A copy of this project to which a plugin is added: one new file and one line in the table of plugins."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pipeline.commands import dag
from pipeline.core.import_closure import code_digest
from pipeline.core.paths import Paths
from tests.conftest import copy_store
from tests.project import clone, edit_params, git, paleo
from tests.training import world

BASE = "pipeline/assets/tiny"
SMALL = {
    "steps": 2,
    "snapshots": [2],
    "batch_size": 2,
    "resolution_px": 64,
    "prior": {"weight": 0.0},
    "monitor": {"timesteps": 0, "prompts": []},
}
SAMPLE = {"prompts": ["{name}"], "seeds": [1], "steps": 2, "batch_size": 1}


def ready_project(folder: Path, empty_store: Path) -> Paths:
    """A copy of the code with curated pictures and a verdict that passed, ready to be trained."""
    clone(folder)
    paths = world.make_project(folder, Path(BASE), **SMALL)
    edit_params(folder, {"sample": SAMPLE})
    copy_store(empty_store, folder)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "ready to be trained")
    return paths


def add_plugin(root: Path, file: str, source: str, table: str, line: str) -> None:
    """Write a new file and put one line at the top of the dict literal of a table; nothing else is edited."""
    (root / file).write_text(source, encoding="utf-8")
    path = root / table
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(: dict\[str, str\] = \{\n)", rf"\1    {line}\n", text, count=1), encoding="utf-8")
    changed = git(root, "status", "--short", "--untracked-files=all", "--", "pipeline").splitlines()
    assert changed == [f" M {table}", f"?? {file}"]


def cache_keys(root: Path, method: str = "lora", family: str = "sd") -> dict[str, Any]:
    """What decides whether a model that was trained with these is still up to date."""
    entries = ["pipeline.train", f"pipeline.methods.{method}", f"pipeline.families.{family}"]
    return {
        "code of the lineage": code_digest(entries, root),
        "deps of train": dag.deps(root, "train"),
        "deps of sample": dag.deps(root, "sample"),
    }


def train_and_sample(paths: Paths) -> dict[str, Any]:
    """Both stages by the command line of the copy; returns the model's card."""
    for stage in ("train", "sample"):
        ran = paleo(paths.root, stage, paths.species, OMP_NUM_THREADS="1")
        assert ran.returncode == 0, ran.stdout + ran.stderr
    pictures = [path for path in (paths.root / "samples" / paths.species).rglob("*.png") if "step-000002" in str(path)]
    assert pictures, "no picture of the snapshot"
    return json.loads((paths.model / "card.json").read_text(encoding="utf-8"))
