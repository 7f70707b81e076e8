"""How long the stages took when they last ran, for the estimate in `paleo plan`; in `.work/`, in no versioned file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flows import project
from flows.graph import Stage
from pipeline.core import strict_json

FOLDER = project.WORK / "seconds"
PER_STEP = "train"  # the stage whose seconds grow with `train.steps`


def record(stage: Stage, seconds: float) -> None:
    """Keep the seconds of a stage that ran, with the steps that its species was trained for."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    _file(stage.name).write_text(json.dumps({"seconds": seconds, "steps": _steps()}), encoding="utf-8")


def estimate(stages: Iterable[Stage]) -> dict[str, float]:
    """Seconds by the stage's name: of its own last run, else the mean of other species'; without those never timed."""
    recorded = {file.stem: seconds for file in FOLDER.glob("*.json") if (seconds := _seconds(file)) is not None}
    found = {}
    for stage in stages:
        of_kind = [seconds for name, seconds in recorded.items() if name.partition("@")[0] == stage.kind]
        if stage.name in recorded:
            found[stage.name] = recorded[stage.name]
        elif of_kind:
            found[stage.name] = sum(of_kind) / len(of_kind)
    return found


def _file(name: str) -> Path:
    return FOLDER / f"{name}.json"


def _seconds(file: Path) -> float | None:
    """The seconds on record, for as many steps as params.yaml has now; None where the file is damaged."""
    try:
        found: Any = strict_json.parse(file.read_bytes())
        share = _steps() / found["steps"] if file.stem.partition("@")[0] == PER_STEP else 1.0
        return float(found["seconds"]) * share
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return None


def _steps() -> int:
    from pipeline.core.training_params import Train

    return int(project.section("train").get("steps", Train().steps))
