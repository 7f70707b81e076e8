"""Look at the world again: force `collect` for the species that are due, then version what changed.

When a species was last looked at stands in `.work/refresh/`, in no versioned file: a look that finds nothing new
must leave no trace there.
"""

from __future__ import annotations

import json
from pathlib import Path
from time import time
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from flows import gpu_leases, graph, project
from flows.errors import StageFailed, Stopped
from flows.reproduce import Done, Kept, Outcome, dvc_repro, outcome

SECONDS_A_DAY = 86400.0


def due(plan: graph.Graph, species: list[str], params: dict[str, Any], *, now: bool, stale: bool) -> list[graph.Stage]:
    """The collect stages to run before anything else: those that are due; with `stale` also those that are stale.

    (Data are versioned before a model is trained on them; without versioning `reproduce` runs the stale ones.)
    """
    stages = [plan[f"collect@{key}"] for key in species if f"collect@{key}" in plan]
    return [stage for stage in stages if (stale if stage.action != "cached" else now or _is_due(stage.species, params))]


def _is_due(species: str, params: dict[str, Any]) -> bool:
    """Never seen here (a fresh clone with results): seen now, so that nobody scrapes by cloning."""
    days = params["species"][species].get("refresh_days") or params["collect"]["refresh_days"]
    seen = last_look(species)
    if seen is None:
        remember(species)
        return False
    return time() - seen > days * SECONDS_A_DAY


def _record(species: str) -> Path:
    return project.WORK / "refresh" / f"{species}.json"


def last_look(species: str) -> float | None:
    try:
        return float(json.loads(_record(species).read_text(encoding="utf-8"))["looked"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def remember(species: str) -> None:
    """Note that the sources of a species were looked at now."""
    _record(species).parent.mkdir(parents=True, exist_ok=True)
    _record(species).write_text(json.dumps({"looked": time()}), encoding="utf-8")


def refresh(stages: list[graph.Stage], logs: Path) -> list[Outcome]:
    """Force the collect stages side by side."""
    futures = [
        look_again.with_options(task_run_name=f"refresh {stage.species}").submit(stage, logs) for stage in stages
    ]
    return [outcome(stage, future) for stage, future in zip(stages, futures, strict=True)]


@task(name="refresh", cache_policy=NO_CACHE, persist_result=False)
def look_again(stage: graph.Stage, logs: Path) -> State[Done]:
    """Let DVC run one collect stage, unchanged or not; a source that fails leaves the earlier pictures in place."""
    log, began = get_run_logger(), time()
    force = ["--force"] if stage.action == "cached" else []
    try:
        with gpu_leases.slot(stage.kind) as more, Kept(stage):
            dvc_repro(stage, logs, log.info, more, *force)
    except Stopped as stopped:
        return Cancelled(message=str(stopped))
    except StageFailed as failure:
        return Failed(message=f"{failure}\nthe earlier pictures stay in use")
    remember(stage.species)
    seconds = time() - began
    return Completed(message=f"looked again in {seconds:.1f} s", data=Done("ran", seconds, "looked again"))
