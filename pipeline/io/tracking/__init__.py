"""Experiment tracking: live metrics and pictures of a training, to one or more trackers.

    with tracking.training_run(params, paths, lineage_id=lineage, main_process=accelerator.is_main_process) as run:
        run.step(report)            # a StepReport; returns at once
        run.monitoring(report)      # a MonitoringReport: held-out losses, previews
        run.timing(seconds, step)

A tracker is one file and one line in TRACKERS. The environment variable PALEO_TRACKERS chooses, with commas between
several (default: mlflow); it is no param, because an observer changes no result.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.core import registry
from pipeline.core.errors import Interrupted
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.io.tracking import provenance
from pipeline.io.tracking.tracked_run import TrackedRun
from pipeline.io.tracking.tracker import OpenRun, RunDescription, RunStatus, Tracker
from pipeline.methods import method
from pipeline.methods.resolution import resolved_params

__all__ = [
    "TRACKERS",
    "RunDescription",
    "TrackedRun",
    "deciding_params",
    "flatten",
    "run",
    "training_params",
    "training_run",
]

TRACKERS: dict[str, str] = {
    "csv": "pipeline.io.tracking.csv_tracker:open_run",
    "mlflow": "pipeline.io.tracking.mlflow_tracker:open_run",
}
DECIDING = (
    "base.path",
    "train.method",
    "train.steps",
    "train.batch_size",
    "train.resolution_px",
    "train.learning_rate",
    "train.lr_schedule",
    "train.optimiser",
    "train.ema_decay",
    "train.prior.kind",
    "seed",
)
CHOSEN = "PALEO_TRACKERS"
DEFAULT = "mlflow"


@contextmanager
def training_run(
    params: Params, paths: Paths, *, lineage_id: str, resumed_from: int | None = None, main_process: bool = True
) -> Iterator[TrackedRun]:
    """The run of one training; an unfinished one of the same lineage is continued.

    Raises
    ------
    ParamsError
        When PALEO_TRACKERS names a tracker that there is not.
    ServiceError
        Within about ten seconds, when a tracker's store does not answer.
    """
    tags = {"stage": "train", "species": paths.species, "lineage_id": lineage_id}
    if resumed_from is not None:
        tags["resumed_from"] = str(resumed_from)
    description = RunDescription(
        paths.species,
        f"{params.train.method} {lineage_id[:8]}",
        tags,
        training_params(params, paths.species),
        deciding_params(params),
        continue_by="lineage_id",
    )
    with run(paths.root, description, main_process=main_process) as opened:
        yield opened


@contextmanager
def run(root: Path, description: RunDescription, *, main_process: bool = True) -> Iterator[TrackedRun]:
    """A run in every chosen tracker; closed as FINISHED, as KILLED when it was interrupted, else as FAILED."""
    if not main_process:
        yield TrackedRun()
        return
    described = replace(description, tags={**provenance.provenance(root), **description.tags})
    trackers: list[Tracker] = []
    status: RunStatus = "FAILED"
    try:
        for open_run in chosen_trackers():
            trackers.append(open_run(root, described))
        yield TrackedRun(trackers)
        status = "FINISHED"
    except (Interrupted, KeyboardInterrupt):
        status = "KILLED"
        raise
    finally:
        TrackedRun(trackers).close(status)


def chosen_trackers() -> list[OpenRun]:
    """The trackers that PALEO_TRACKERS names, imported; ParamsError when it names one that there is not."""
    names = [name.strip() for name in (os.environ.get(CHOSEN) or DEFAULT).split(",")]
    return [registry.plugin(registry.lookup(CHOSEN, name, TRACKERS)) for name in dict.fromkeys(names)]


def training_params(params: Params, species: str) -> dict[str, str]:
    """What decides a training, flat: {"train.learning_rate": "0.0003", …}; the method's own section in full."""
    dump = params.model_dump(mode="json", by_alias=True)
    train = resolved_params(method(params.train.method), params.train, exclude=set())
    return flatten({"seed": dump["seed"], "species": dump["species"][species], "base": dump["base"], "train": train})


def deciding_params(params: Params) -> tuple[str, ...]:
    """The names of the dozen that trainings are compared by first: the shared ones, then the method's own numbers."""
    chosen = method(params.train.method)
    resolved = resolved_params(chosen, params.train, exclude=set())
    own = [(name, key, value) for name in chosen.sections for key, value in resolved[name].items()]
    numbers = [f"train.{name}.{key}" for name, key, value in own if type(value) in (int, float)]
    return (*DECIDING, *numbers)


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings as one, with dotted keys; anything else as text."""
    if not isinstance(value, Mapping):
        return {prefix: str(value)}
    parts = (flatten(inner, f"{prefix}.{key}" if prefix else str(key)) for key, inner in value.items())
    return {key: text for part in parts for key, text in part.items()}
