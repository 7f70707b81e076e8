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
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Completed, Failed

from flows import graph, hardware, processes, project, stop_signals
from flows import refresh as refreshing
from flows import release as releasing
from flows import versioning as versions
from flows.errors import FlowError
from flows.reproduce import Outcome, reproduce
from pipeline.core.training_params import Train

POLL_SECONDS = 2.0
MOST_NAMED = 4  # species in the name of a run
STOPPED = "stopped; what was finished is kept, `paleo run` continues from there"


@dataclass(frozen=True)
class Result:
    """What a run brought: the table's rows, how each stage ended, and where the full logs are."""

    rows: list[releasing.Row]
    outcomes: list[Outcome]
    logs: Path


def run_name() -> str:
    """`all species`, `ants, bees (refresh)`: what Prefect lists a run by."""
    wanted = list(map(str, flow_run.parameters.get("species") or ["all species"]))
    more = f" and {len(wanted) - MOST_NAMED} more" if len(wanted) > MOST_NAMED else ""
    return ", ".join(wanted[:MOST_NAMED]) + more + (" (refresh)" if flow_run.parameters.get("refresh") else "")


@flow(name="pipeline", flow_run_name=run_name, persist_result=False, validate_parameters=True)
def pipeline(
    species: list[str] | None = None, refresh: bool = False, versioning: dict[str, bool] | None = None
) -> State[Result]:
    """Refresh the data that are due, run what is stale, register what came out.

    Parameters
    ----------
    species
        Keys of params.yaml; none: all.
    refresh
        Crawl the sources now, due or not.
    versioning
        Switches (commit, tag, dvc_push, git_push) that override those of params.yaml.
    """
    processes.reset()
    stop_signals.install()
    try:
        with project.run_lock(), _stop_when_cancelled():
            state = _run(species or [], refresh, versioning)
    except FlowError as error:
        return Failed(message=str(error))
    except (KeyboardInterrupt, TerminationSignal):
        get_run_logger().warning("stopping: the stages save their work (a second Ctrl-C kills them)")
        processes.stop_all()
        return Cancelled(message=STOPPED)
    except BaseException:
        processes.stop_all()  # or the threads of the tasks would wait for their children for hours
        raise
    return state


def _run(wanted: list[str], refresh_now: bool, over: dict[str, bool] | None) -> State[Result]:
    params, species = project.params(), project.chosen_species(wanted)
    _tag_run(species, params)
    on, logs = versions.switches(params, over), project.LOGS / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    versions.check(on)
    plan = planned(wanted)
    refreshed = _refresh(plan, species, params, refresh_now, on, logs)
    outcomes = reproduce(graph.read(wanted) if refreshed else plan, logs)
    failure = _release(species, outcomes, on, logs)
    result = Result(releasing.rows(species, [*refreshed, *outcomes]), [*refreshed, *outcomes], logs)
    if any(outcome.ending != "cached" for outcome in result.outcomes):
        releasing.publish(result.rows, result.outcomes)
    return _final_state(result, failure)


def _tag_run(species: list[str], params: dict[str, Any]) -> None:
    """Tags by which runs are filtered in Prefect: species, method, and who started it.

    They are set on the run alone: those of a context go to every task, for each of which Prefect asks for a limit.
    """
    started_by = "deployment" if deployment.id else "paleo run"
    method = (params.get("train") or {}).get("method", Train.model_fields["method"].default)
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, tags=sorted({*(flow_run.tags or ()), *species, str(method), started_by}))


def _refresh(
    plan: graph.Graph, species: list[str], params: dict[str, Any], now: bool, on: dict[str, bool], logs: Path
) -> list[Outcome]:
    """Crawl the sources that are due; data get their version before anything is made from them."""
    due = refreshing.due(plan, species, params, now=now, stale=any(on.values()))
    refreshed = refreshing.refresh(due, logs) if due else []
    if any(on.values()) and not processes.stopping():
        versions.version_data(species, on, get_run_logger().info)
    return refreshed


def _release(species: list[str], outcomes: list[Outcome], on: dict[str, bool], logs: Path) -> str:
    """Record the crawls, version the results, register them; a sentence if that failed."""
    for outcome in outcomes:
        if outcome.stage.kind == refreshing.KIND and outcome.ending == "ran":
            refreshing.record_crawl(outcome.stage.species)
    if processes.stopping():
        return ""
    if any(on.values()):
        metrics = [path for outcome in outcomes for path in outcome.stage.uncached_outs]
        versions.version_results(metrics, on, get_run_logger().info)
    return releasing.release(species, outcomes, logs)


def planned(wanted: list[str]) -> graph.Graph:
    """The graph; FlowError for everything that can be checked before anything runs."""
    project.check()
    hardware.check()
    plan = graph.read(wanted)
    if busy := [stage.name for stage in plan.stages if graph.BUSY in stage.why]:
        raise FlowError(f"another process works on {', '.join(busy)} (`dvc repro`?); wait for it or stop it")
    if plan.missing:
        raise FlowError("; ".join(_missing_sentence(entry) for entry in plan.missing))
    return plan


def _missing_sentence(entry: graph.Missing) -> str:
    first, more = entry.stages[0], len(entry.stages) - 1
    users = f"{first} and {more} more need" if more else f"{first} needs"
    if entry.is_param:
        return (
            f"{entry.name} is not written in params.yaml, but {users} it by name in dvc.yaml; write it there "
            "(`paleo params` prints its default)"
        )
    keys = [f"base.{key}" for key, value in project.section("base").items() if value == entry.name]
    if not keys:
        return f"{entry.name} is missing, but {users} it; restore it (`git checkout -- {entry.name}`)"
    return (
        f"there is no base model in {entry.name}, the value of {' and '.join(keys)} in params.yaml, but {users} it; "
        f"correct the value or put the model there (`paleo pretrain --out {entry.name}` builds the embedded one)"
    )


def _final_state(result: Result, failure: str) -> State[Result]:
    """The state of the flow run: `failure` is that of the release, if it failed."""
    failed = [outcome for outcome in result.outcomes if outcome.ending == "failed"]
    not_run = sum(outcome.ending == "not run" for outcome in result.outcomes)
    if processes.stopping():
        return Cancelled(message=STOPPED, data=result)
    if failed or failure:
        sentences = [outcome.message for outcome in failed] + [failure] * bool(failure)
        tail = f"\n{not_run} {'stage was' if not_run == 1 else 'stages were'} not run because of it" if not_run else ""
        return Failed(message="\n".join(sentences) + tail, data=result)
    ran = sum(outcome.ending == "ran" for outcome in result.outcomes)
    return Completed(message=f"{ran} stages ran, {len(result.outcomes) - ran} were cached", data=result)


@contextmanager
def _stop_when_cancelled() -> Iterator[None]:
    """Poll for a cancellation in the UI: a run of `paleo run` has no runner that would end it."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or os.environ.get("PREFECT__FLOW_RUN_ID"):
        yield
        return
    finished = threading.Event()
    watcher = threading.Thread(target=_watch_state, args=(context.flow_run.id, finished), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()


def _watch_state(run_id: Any, finished: threading.Event) -> None:
    with get_client(sync_client=True) as client:
        while not finished.wait(POLL_SECONDS):
            state = client.read_flow_run(run_id).state
            if state and (state.is_cancelling() or state.is_cancelled()):
                processes.stop_all()
                return
