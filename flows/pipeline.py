"""The flow `pipeline`: refresh -> reproduce -> release. What `paleo run` and every schedule run."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_client, get_run_logger
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Completed, Failed

from flows import graph, hardware, processes, project
from flows import refresh as refreshing
from flows import release as releasing
from flows import versioning as versions
from flows.errors import FlowError
from flows.reproduce import Outcome, reproduce

WATCH_SECONDS = 2.0
STOPPED = "stopped; what was finished is kept, `paleo run` goes on from there"


@dataclass(frozen=True)
class Result:
    """What a run brought: the table's rows, how each stage ended, and where the full logs are."""

    rows: list[releasing.Row]
    outcomes: list[Outcome]
    logs: Path


@flow(name="pipeline", persist_result=False, validate_parameters=True)
def pipeline(
    species: list[str] | None = None, refresh: bool = False, versioning: dict[str, bool] | None = None
) -> State[Result]:
    """Refresh the data that are due, run what is stale, register what came out.

    Parameters
    ----------
    species
        Keys of params.yaml; none: all.
    refresh
        Look at the sources now, due or not.
    versioning
        Switches (commit, tag, dvc_push, git_push) that go over those of params.yaml.
    """
    processes.reset()
    try:
        with project.only_run(), _cancel_heard():
            state = _run(species or [], refresh, versioning)
    except FlowError as error:
        return Failed(message=str(error))
    except (KeyboardInterrupt, TerminationSignal):
        get_run_logger().warning("asked to stop: the stages save their work (again: they are killed)")
        processes.stop_all()
        return Cancelled(message=STOPPED)
    except BaseException:
        processes.stop_all()  # or the threads of the tasks would wait for their children for hours
        raise
    return state


def _run(wanted: list[str], look_now: bool, over: dict[str, bool] | None) -> State[Result]:
    params, species = project.params(), project.chosen_species(wanted)
    on, logs = versions.switches(params, over), _log_folder()
    plan = planned(wanted)
    looked = _refresh(plan, species, params, look_now, on, logs)
    outcomes = reproduce(graph.read(wanted) if looked else plan, logs)
    trouble = _release(species, outcomes, on, logs)
    result = Result(releasing.rows(species, [*looked, *outcomes]), [*looked, *outcomes], logs)
    if any(outcome.ending != "cached" for outcome in result.outcomes):
        releasing.publish(result.rows, result.outcomes)
    return _verdict(result, trouble)


def _refresh(
    plan: graph.Graph, species: list[str], params: dict[str, Any], now: bool, on: dict[str, bool], logs: Path
) -> list[Outcome]:
    """Look at the sources that are due; data get their version before anything is made from them."""
    again = refreshing.due(plan, species, params, now=now, stale=any(on.values()))
    looked = refreshing.refresh(again, logs) if again else []
    if any(on.values()) and not processes.stopping():
        versions.version_data(species, on, get_run_logger().info)
    return looked


def _release(species: list[str], outcomes: list[Outcome], on: dict[str, bool], logs: Path) -> str:
    """Note the looks, version the results, register them; a sentence if that failed."""
    for outcome in outcomes:
        if outcome.stage.kind == "collect" and outcome.ending == "ran":
            refreshing.remember(outcome.stage.species)
    if processes.stopping():
        return ""
    if any(on.values()):
        metrics = [path for outcome in outcomes for path in outcome.stage.kept]
        versions.version_results(metrics, on, get_run_logger().info)
    return releasing.release(species, outcomes, logs)


def planned(wanted: list[str]) -> graph.Graph:
    """The graph, after everything that can be known to go wrong was looked for."""
    project.check()
    hardware.check()
    plan = graph.read(wanted)
    if plan.absent:
        raise FlowError("; ".join(_absent(entry) for entry in plan.absent))
    return plan


def _absent(entry: graph.Absent) -> str:
    first, more = entry.stages[0], len(entry.stages) - 1
    users = f"{first} and {more} more need" if more else f"{first} needs"
    named = [f"base.{key}" for key, value in project.params().get("base", {}).items() if value == entry.path]
    if not named:
        return f"{entry.path} is missing, but {users} it; restore it (`git checkout -- {entry.path}`)"
    return (
        f"there is no base model in {entry.path}, the value of {' and '.join(named)} in params.yaml, but {users} it; "
        f"correct the value or put the model there (`paleo pretrain --out {entry.path}` builds the embedded one)"
    )


def _log_folder() -> Path:
    return project.LOGS / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _verdict(result: Result, trouble: str) -> State[Result]:
    failed = [outcome for outcome in result.outcomes if outcome.ending == "failed"]
    idle = sum(outcome.ending == "not run" for outcome in result.outcomes)
    if processes.stopping():
        return Cancelled(message=STOPPED, data=result)
    if failed or trouble:
        said = [outcome.message for outcome in failed] + [trouble] * bool(trouble)
        tail = f"\n{idle} {'stage was' if idle == 1 else 'stages were'} not run because of it" if idle else ""
        return Failed(message="\n".join(said) + tail, data=result)
    ran = sum(outcome.ending == "ran" for outcome in result.outcomes)
    return Completed(message=f"{ran} stages ran, {len(result.outcomes) - ran} were cached", data=result)


@contextmanager
def _cancel_heard() -> Iterator[None]:
    """A run of `paleo run` has no runner that would end it when it is cancelled in the UI: listen ourselves."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or os.environ.get("PREFECT__FLOW_RUN_ID"):
        yield
        return
    over = threading.Event()
    listener = threading.Thread(target=_listen, args=(context.flow_run.id, over), daemon=True)
    listener.start()
    try:
        yield
    finally:
        over.set()


def _listen(run_id: Any, over: threading.Event) -> None:
    with get_client(sync_client=True) as client:
        while not over.wait(WATCH_SECONDS):
            state = client.read_flow_run(run_id).state
            if state and (state.is_cancelling() or state.is_cancelled()):
                processes.stop_all()
                return
