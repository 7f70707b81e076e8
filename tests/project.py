"""A temporary clone of this project, small enough to run as a whole in a test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
QUICK = {
    "train": {"steps": 4, "snapshots": [2, 4], "batch_size": 4, "save_every_steps": 2, "prior": {"images": 4}},
    "sample": {"prompts": ["{name}", "pencil drawn {name}"], "seeds": [1, 2], "steps": 2},
    "evaluate": {"bootstrap_resamples": 200},
}


# What people commit beside the code: results, verdicts and masks of their own data. No test may depend on them.
RESULTS = ("dvc.lock", "reports/", "data/raw/", "data/curated/", "data/reviews/", "data/masks/", "models/", "samples/")


def clone(target: Path, source: Path = ROOT) -> Path:
    """A git repository of its own with the tracked files of `source`, as they are in its working tree.

    Untracked files stay behind (a demo's dvc.lock, notes), and so do committed results; README files come along.
    """
    for name in tracked_files(source):
        is_result = name.startswith(RESULTS) and not name.endswith("README.md")
        if (source / name).is_file() and not is_result:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "as it is"]):
        git(target, *command)
    return target


def tracked_files(folder: Path = ROOT) -> list[str]:
    """Names of the files that git tracks, relative to `folder`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    return [name for name in listed.split("\0") if name]


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def edit_params(folder: Path, changes: dict[str, Any], drop_species: tuple[str, ...] = ()) -> None:
    """Merge `changes` into params.yaml."""
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    merge(params, changes)
    for key in drop_species:
        del params["species"][key]
    yaml.dump(params, folder / "params.yaml")


def merge(target: Any, changes: dict[str, Any]) -> None:
    """Change nested mappings in place."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = value


def environment(folder: Path) -> dict[str, str]:
    """The clone's code and programs, none of the caller's servers."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_", "DVC_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {
        **kept,
        "PATH": path,
        "PYTHONPATH": str(folder),
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "true",
        "DVC_NO_ANALYTICS": "1",
    }


def paleo(folder: Path, *arguments: str, timeout_seconds: float = 280, **extra: str) -> subprocess.CompletedProcess:
    """Run `paleo` in a clone; the caller looks at its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**environment(folder), **extra},
        timeout=timeout_seconds,
    )


def restore_sigint() -> None:
    """For `preexec_fn`: processes in the background of a script ignore Ctrl-C, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
