"""Walk the graph: each stale stage is a Prefect task that lets DVC run it, the others are shown as Cached."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Any, Literal

from prefect import allow_failure, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from flows import durations, gpu_leases, graph, processes, project, validation
from flows.errors import FlowError, StageFailed, StageInterrupted, Stopped
from flows.stage_logs import Report, StageLog

RETRIES = 2
RETRY_DELAY_SECONDS = [3.0, 10.0]
# dvc exits with 1 whatever the exit code of its command, and accelerate may hide it too: the trainer's sentence counts
_INTERRUPTED = re.compile(r"interrupted (at step|while preparing)|exited with 75\b|exit code:? 75\b|exitcode\s*: 75\b")
_OS_ERROR = re.compile(r"^ERROR: failed to reproduce .*?: \[Errno \d+\] (.+)")  # that dvc met
_UNCHANGED = "didn't change, skipping"
_RESTORED = "is cached - skipping run"

Ending = Literal["ran", "cached", "failed", "stopped", "not run"]


@dataclass(frozen=True)
class Outcome:
    """How one stage ended; `message` is for people."""

    stage: graph.Stage
    ending: Ending
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Done:
    """What the task of a stage returns."""

    ending: Ending
    seconds: float
    message: str


def reproduce(plan: graph.Graph, logs: Path) -> list[Outcome]:
    """Run what is stale, side by side where the graph allows it; failures end in outcomes, not in exceptions."""
    futures: dict[str, PrefectFuture[Any]] = {}
    finished: set[str] = set()
    for stage in plan.stages:
        before = [allow_failure(futures[name]) for name in stage.needs]
        named: Any = run_stage.with_options(task_run_name=stage.name)  # no tags: Prefect asks for a limit for each, 2 s
        futures[stage.name] = named.submit(stage, logs, finished, wait_for=before)
    return [outcome(stage, futures[stage.name]) for stage in plan.stages]


def _interrupted(_task: object, _run: object, state: State) -> bool:
    return not processes.stopping() and isinstance(state.data, StageInterrupted)


@task(
    name="stage",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_SECONDS,
    retry_condition_fn=_interrupted,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def run_stage(stage: graph.Stage, logs: Path, finished: set[str]) -> State[Done]:
    """One stage of dvc.yaml; unchanged ones cost no process. `finished`: the stages that have succeeded so far."""
    blocker = next((name for name in stage.needs if name not in finished), None)
    if blocker:  # of type Failed: behind a cancelled task `allow_failure` starts none, not even to report that
        return Failed(name="NotRun", message=f"{blocker} did not finish")
    began = time()
    state = _attempt(stage, logs)
    if stage.kind == validation.KIND:
        validation.publish(stage.species, since=began)
    if state.is_completed():
        finished.add(stage.name)
    return state


def _attempt(stage: graph.Stage, logs: Path) -> State[Done]:
    if stage.action == "cached":
        return _cached("unchanged since dvc.lock")
    log = get_run_logger()
    log.info("%s: %s", stage.action, "; ".join(stage.why))
    try:
        return _reproduced(stage, logs, log.info)
    except Stopped as stopped:
        return Cancelled(message=str(stopped))
    except FlowError as failure:
        return Failed(message=str(failure), data=failure)


def _reproduced(stage: graph.Stage, logs: Path, report: Report) -> State[Done]:
    with gpu_leases.slot(stage.hardware, report) as variables, EarlierResults(stage):
        began = monotonic()
        lines = dvc_repro(stage, logs, report, variables)
    if any(_UNCHANGED in line for line in lines):
        return _cached("unchanged: what it depends on came out the same")
    if any(_RESTORED in line for line in lines):
        return _cached("restored from DVC's cache")
    seconds = monotonic() - began
    durations.record(stage, seconds)
    return Completed(message=f"{seconds:.1f} s", data=Done("ran", seconds, "; ".join(stage.why)))


def _cached(message: str) -> State[Done]:
    return Completed(name="Cached", message=message, data=Done("cached", 0.0, message))


def dvc_repro(stage: graph.Stage, logs: Path, report: Report, variables: dict[str, str], *options: str) -> list[str]:
    """`dvc repro` of one stage; the lines that say whether it was skipped or interrupted.

    Raises StageFailed with the stage's own sentence or its last lines.
    """
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", *options, stage.name]
    log = StageLog(logs / f"{stage.name}.log", report)
    env = project.environment(**gpu_leases.thread_variables(stage.hardware), **run_id(), **variables)
    with processes.started(command, env) as child:
        lines = [line for line in log.follow(child.stdout) if _INTERRUPTED.search(line) or "skipping" in line]
    saved = any(_INTERRUPTED.search(line) for line in lines)
    if processes.stopping():
        raise Stopped(f"{stage.name} was stopped" + (", its work is saved" if saved else ""))
    if child.returncode:
        raise (StageInterrupted if saved else StageFailed)(_failure(stage, log))
    return lines


def run_id() -> dict[str, str]:
    """The variables with which MLflow records from which run of the flow a model comes."""
    return {"PALEO_FLOW_RUN_ID": flow_run.id, "PALEO_FLOW_RUN_NAME": flow_run.name or ""} if flow_run.id else {}


def _failure(stage: graph.Stage, log: StageLog) -> str:
    """The stage's own sentence if it printed one (`paleo train: …`), else its last lines."""
    own = [line for line in log.tail if line.startswith(f"paleo {stage.kind}: ")]
    if own:
        return f"{stage.name} failed: {own[-1].removeprefix(f'paleo {stage.kind}: ')}"
    os_errors = [match[1] for line in log.tail if (match := _OS_ERROR.search(line))]
    if os_errors:
        return f"{stage.name} failed: {os_errors[-1]}; check permissions and space there, then run this again"
    return "\n  ".join([f"{stage.name} failed; its last lines (all in {log.path}):", *log.tail])


class EarlierResults:
    """Restores a stage's earlier results when it fails: DVC deletes them before it runs."""

    def __init__(self, stage: graph.Stage) -> None:
        self._stage = stage
        self._files = {path: path.read_bytes() for path in map(Path, stage.uncached_outs) if path.is_file()}

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None or not issubclass(kind, FlowError):
            return
        for path, content in self._files.items():
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        if self._stage.locked and not issubclass(kind, Stopped):  # a stop starts no further process
            _checkout(self._stage)


def _checkout(stage: graph.Stage) -> None:
    """The results that dvc.lock names, from the cache; one that the cache lacks stays missing."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "checkout", "--quiet", stage.name]
    with suppress(Stopped), processes.started(command, project.environment()) as child:
        child.communicate()


def outcome(stage: graph.Stage, future: PrefectFuture[Any]) -> Outcome:
    """Wait for a stage's task to end, in whatever way."""
    future.wait()
    state = future.state
    if state.is_completed():
        done = state.result()
        return Outcome(stage, done.ending, done.seconds, done.message)
    return Outcome(stage, _ending(state), message=state.message or str(state.name))


def _ending(state: State) -> Ending:
    if state.name in ("NotRun", "NotReady"):  # NotReady: Prefect's own, behind a stage that was stopped
        return "not run"
    return "stopped" if state.is_cancelled() else "failed"
