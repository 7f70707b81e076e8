"""Refresh the data: force `collect` for the species whose sources are due for a crawl.

When a species' sources were last crawled stands in `.work/refresh/`, in no versioned file: a crawl that finds nothing
new must leave no trace there.
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
from flows.reproduce import Done, EarlierResults, Outcome, dvc_repro, outcome
from pipeline.core import strict_json

KIND = "collect"  # the stage that crawls
SECONDS_PER_DAY = 86400.0


def due(plan: graph.Graph, species: list[str], params: dict[str, Any], *, now: bool, stale: bool) -> list[graph.Stage]:
    """The collect stages to run before anything else: those that are due; with `stale` also those that are stale.

    (Data are versioned before a model is trained on them; without versioning `reproduce` runs the stale ones.)
    """
    stages = [plan[f"{KIND}@{key}"] for key in species if f"{KIND}@{key}" in plan]
    return [stage for stage in stages if (stale if stage.action != "cached" else now or _is_due(stage.species, params))]


def _is_due(species: str, params: dict[str, Any]) -> bool:
    """False where no crawl is recorded (a fresh clone with results), which counts as now: cloning starts no crawl."""
    last = last_crawl(species)
    if last is None:
        record_crawl(species)
        return False
    return time() - last > _refresh_days(species, params) * SECONDS_PER_DAY


def _refresh_days(species: str, params: dict[str, Any]) -> float:
    from pipeline.core.data_params import Collect

    days = (params.get("collect") or {}).get("refresh_days", Collect().refresh_days)
    return float(params["species"][species].get("refresh_days") or days)


def _record(species: str) -> Path:
    return project.WORK / "refresh" / f"{species}.json"


def last_crawl(species: str) -> float | None:
    """When the sources of a species were last crawled, in seconds since the epoch; None where that is not recorded."""
    try:
        return float(strict_json.parse(_record(species).read_bytes())["looked"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def record_crawl(species: str) -> None:
    """Record that the sources of a species were crawled now."""
    _record(species).parent.mkdir(parents=True, exist_ok=True)
    _record(species).write_text(json.dumps({"looked": time()}), encoding="utf-8")


def refresh(stages: list[graph.Stage], logs: Path) -> list[Outcome]:
    """Force the collect stages side by side."""
    futures = [crawl.with_options(task_run_name=f"refresh {stage.species}").submit(stage, logs) for stage in stages]
    return [outcome(stage, future) for stage, future in zip(stages, futures, strict=True)]


@task(name="refresh", cache_policy=NO_CACHE, persist_result=False)
def crawl(stage: graph.Stage, logs: Path) -> State[Done]:
    """Let DVC run one collect stage, unchanged or not; a source that fails leaves the earlier pictures in place."""
    log, began = get_run_logger(), time()
    force = ["--force"] if stage.action == "cached" else []
    try:
        with gpu_leases.slot(stage.hardware) as variables, EarlierResults(stage):
            dvc_repro(stage, logs, log.info, variables, *force)
    except Stopped as stopped:
        return Cancelled(message=str(stopped))
    except StageFailed as failure:
        return Failed(message=f"{failure}\nthe earlier pictures stay in use")
    record_crawl(stage.species)
    seconds = time() - began
    return Completed(message=f"crawled again in {seconds:.1f} s", data=Done("ran", seconds, "crawled again"))
