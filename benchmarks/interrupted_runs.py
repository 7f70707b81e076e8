"""Runs of the whole pipeline that are killed at random moments: the next one must end as if nothing had happened.

The project is the smallest that has every stage. One clone runs undisturbed; others are stopped again and again, by
SIGKILL to `paleo run`, SIGKILL to every process (a power cut) or SIGTERM, until they have ended; then their dvc.lock,
model versions, git status and files are compared with those of the first.
"""

from __future__ import annotations

import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from ruamel.yaml import YAML

from benchmarks import project as projects
from benchmarks.claims import Claim

KILLS = 20
Stop = Literal["SIGKILL", "power cut", "SIGTERM"]
STOPS: tuple[Stop, ...] = ("SIGKILL", "SIGKILL", "power cut", "SIGTERM")
END_SECONDS = 150  # in which stages save after their run was killed
SPECIES = {
    "name": "Sinomacrops bondei",
    "class_noun": "flying reptile",
    "sources": [{"kind": "synthetic", "taxon": "sinomacrops", "good": 10, "clutter": 4}],
}
SMALLEST = {
    "train": {"method": "lora", "steps": 6, "snapshots": [3, 6], "batch_size": 2, "save_every_steps": 1},
    "sample": {"prompts": ["{name}"], "seeds": [1, 2], "steps": 2},
    "evaluate": {"bootstrap_resamples": 200},
}
# What an interrupted run may leave, beside other file names of the same kind.
LEFT = re.compile(
    r"\.work/logs/"  # one folder a run
    r"|\.work/prefect/"  # its database and the files beside it
    r"|\.dvc/(cache|tmp)/"  # what DVC itself keeps
    r"|.*/__pycache__/"
    r"|mlflow\.db-(journal|shm|wal)"
    r"|mlartifacts/"  # of the MLflow run of a training that was stopped
)
VOLATILE = re.compile(r"[0-9a-f]{8,}|\d{4}-\d\d-\d\d_[\d-]+")  # digests, ids and times in names


@dataclass(frozen=True)
class Outcome:
    """What must be equal after every way to the end."""

    lock: str
    versions: list[tuple[str, int]]
    git_status: str
    dvc_status: str
    files: frozenset[str]


def measure(folder: Path) -> list[Claim]:
    """The share of stops after which everything was as in the undisturbed run."""
    smallest = smallest_project(folder / "smallest")
    reference = Path(shutil.copytree(smallest, folder / "undisturbed", symlinks=True))
    started = time.perf_counter()
    run_to_end(reference)
    seconds, chance = time.perf_counter() - started, random.Random(0)
    expected, n_stops, n_good, differing = outcome(reference), 0, 0, []
    while n_stops < KILLS:
        project = Path(shutil.copytree(smallest, folder / f"interrupted-{n_stops}", symlinks=True))
        stops = interrupt_until_done(project, seconds, chance, KILLS - n_stops)
        n_stops += len(stops)
        found = differences(expected, outcome(project))
        n_good += 0 if found else len(stops)
        differing += [f"after {', '.join(stops)}: {', '.join(found)}"] if found else []
        print(f"{len(stops)} stops ({'; '.join(stops)}): {', '.join(found) or 'equal'}", flush=True)
        shutil.rmtree(project)
    note = "; ".join(differing)
    return [
        Claim(
            "stops at random moments after which the run ended equal",
            n_good,
            f"of {n_stops}",
            at_least=n_stops,
            note=note,
        )
    ]


def smallest_project(folder: Path) -> Path:
    """A clone of HEAD with one species of few pictures and few steps, all committed."""
    folder.mkdir(parents=True)
    project = projects.clone(folder)
    yaml = YAML()
    params = yaml.load(project / "params.yaml")
    params["species"] = {"sinomacrops": SPECIES}
    for section, changes in SMALLEST.items():
        params[section].update(changes)
    params["train"]["prior"]["images"] = 4
    yaml.dump(params, project / "params.yaml")
    identity = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org"]
    subprocess.run(["git", *identity, "commit", "-qam", "smallest"], cwd=project, check=True)
    return project


def run_to_end(project: Path) -> None:
    projects.paleo(project, "run")


def interrupt_until_done(project: Path, seconds: float, chance: random.Random, most: int) -> list[str]:
    """Stop runs at random moments, several within the `seconds` of a whole one, until one ends; what was stopped."""
    stops: list[str] = []
    while len(stops) < most:
        what = stopped_run(project, chance.uniform(0, seconds / 2), chance.choice(STOPS))
        if not what:
            return stops
        stops.append(what)
    run_to_end(project)
    return stops


def stopped_run(project: Path, after_seconds: float, how: Stop, when: str = "") -> str:
    """Start a run and stop it: so many seconds after its start, or after `when` stands in its output.

    Returns how and in which stage; empty when the run has ended before.

    Raises
    ------
    RuntimeError
        When the run fails by itself, or a process of it is left.
    """
    log = project.with_suffix(".log")
    with log.open("wb") as stream:
        run = subprocess.Popen(
            projects.command("run"),
            cwd=project,
            env=projects.environment(project),
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while run.poll() is None and when not in log.read_text():  # an earlier run may have got there: then it goes on
        time.sleep(0.05)
    try:
        code = run.wait(after_seconds)
    except subprocess.TimeoutExpired:
        where = _stage(log)
        stop(run, project, how)
        _await_end(project)
        return f"{how} in {where}"
    if code:
        raise RuntimeError(f"the run failed by itself:\n{log.read_text()[-3000:]}")
    return ""


def stop(run: subprocess.Popen[bytes], project: Path, how: Stop) -> None:
    for process in processes_in(project) if how == "power cut" else []:
        process.kill()
    run.send_signal(signal.SIGTERM if how == "SIGTERM" else signal.SIGKILL)
    run.wait(END_SECONDS)


def _await_end(project: Path) -> None:
    end = time.monotonic() + END_SECONDS
    while left := processes_in(project):
        if time.monotonic() > end:
            raise RuntimeError(f"still running: {[process.cmdline() for process in left]}")
        time.sleep(0.1)


def processes_in(project: Path) -> list[psutil.Process]:
    """Processes whose current folder is the project."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == project.resolve():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _stage(log: Path) -> str:
    """The stage that the run was at, by the last line that names one."""
    stages = re.findall(r"\| ([a-z]+(?:@\w+)?|register)(?:-\w+)? \|", log.read_text())
    return stages[-1] if stages else "the start"


def outcome(project: Path) -> Outcome:
    return Outcome(
        lock=(project / "dvc.lock").read_text(),
        versions=_versions(project),
        git_status=_output(project, "git", "status", "--porcelain"),
        dvc_status=_output(project, sys.executable, "-m", "dvc", "status"),
        files=frozenset(_files(project)),
    )


def differences(expected: Outcome, found: Outcome) -> list[str]:
    """What is not equal, in words; more files than expected are named."""
    named = [
        name
        for name in ("lock", "versions", "git_status", "dvc_status")
        if getattr(expected, name) != getattr(found, name)
    ]
    more, fewer = found.files - expected.files, expected.files - found.files
    return [*named, *(f"left over: {name}" for name in sorted(more)), *(f"missing: {name}" for name in sorted(fewer))]


def _versions(project: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(f"file:{project / 'mlflow.db'}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT name, version FROM model_versions WHERE current_stage <> 'Deleted_Internal'")
        return sorted(rows.fetchall())


def _files(project: Path) -> set[str]:
    """Names of all files but git's and those that may be left, with digests, ids and times replaced."""
    names = {str(path.relative_to(project)) for path in project.rglob("*") if not path.is_dir()}
    return {VOLATILE.sub("…", name) for name in names if not name.startswith(".git/") and not LEFT.match(name)}


def _output(project: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=project, env=projects.environment(project), capture_output=True, text=True)
    return done.stdout.strip() + done.stderr.strip()
