"""The project that the current folder belongs to, and the environment variables of its commands."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any

from flows import processes
from flows.errors import FlowError
from pipeline.core import registry
from pipeline.core.errors import ParamsError

WORK = Path(".work")
LOGS = WORK / "logs"
_has_run_lock = False  # this process
FILES = ("params.yaml", "dvc.yaml")  # by which a project's root is known

# `true` in letters: MLflow takes DO_NOT_TRACK=1 for no.
NO_TELEMETRY = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TOKENIZERS_PARALLELISM": "false",
}


def enter() -> Path:
    """Make the project's root the current folder (DVC's stage names depend on it); returns it."""
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if any((folder / name).is_file() for name in FILES)), None)
    if root is None:
        raise FlowError(f"no params.yaml and dvc.yaml in {here} or above it; change into the project's folder")
    for name in FILES:
        if not (root / name).is_file():
            raise FlowError(f"{root} has no {name}; restore it from git (`git checkout -- {name}`)")
    if not (root / ".dvc").is_dir():
        raise FlowError(f"{root} is no DVC project yet; run `dvc init` there (without git: `dvc init --no-scm`)")
    os.chdir(root)
    return root


def settle_environment() -> None:
    """No telemetry, no downloads, and Prefect's database in the project, unless the environment says otherwise.

    Has to run before Prefect is imported.
    """
    defaults = {
        "PREFECT_HOME": str((WORK / "prefect").absolute()),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s | %(message)s",
        "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s | %(task_run_name)s | %(message)s",
    }
    if os.environ.get("NO_COLOR"):  # https://no-color.org; Prefect has a setting of its own
        defaults["PREFECT_LOGGING_COLORS"] = "false"
    for key, value in (NO_TELEMETRY | defaults).items():
        os.environ.setdefault(key, value)


def environment(**more: str) -> dict[str, str]:
    """For a child: `python`, `accelerate` and `dvc` are those of this interpreter's environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return NO_TELEMETRY | dict(os.environ) | {"PATH": path, "PYTHONUNBUFFERED": "1"} | more


def params() -> dict[str, Any]:
    """params.yaml as it is written. `check` is what validates it: plugins' sections need the plugins, and torch."""
    from pipeline.core import yaml_text

    try:
        written = yaml_text.load(Path("params.yaml").read_text(encoding="utf-8"), "params.yaml")
    except ParamsError as error:
        raise FlowError(str(error)) from None
    except UnicodeDecodeError as error:
        where = f"{error.reason} at byte {error.start}"
        raise FlowError(f"params.yaml is not UTF-8 text ({where}); save it as UTF-8") from None
    if not isinstance(written, dict) or not isinstance(written.get("species"), dict) or not written["species"]:
        raise FlowError("params.yaml must name at least one species under `species:`")
    return written


def section(name: str) -> dict[str, Any]:
    """A section of params.yaml as it is written; empty where all of it has its defaults."""
    return params().get(name) or {}


def chosen_species(wanted: list[str]) -> list[str]:
    """The wanted species' keys, or all of them; FlowError with the nearest known key for an unknown one."""
    known = list(params()["species"])
    for key in wanted:
        if key not in known:
            raise FlowError(f"no species {key!r} in params.yaml; {registry.hint(key, known, cutoff=0.3)}")
    return list(dict.fromkeys(wanted)) or known


def check() -> None:
    """FlowError unless `paleo check` finds everything in order: before anything runs."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "check"], env=environment(), capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        output = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
        raise FlowError(output.rpartition("paleo check: ")[2])


def run_at_work() -> str:
    """The process of the run that works in this project now; empty where there is none."""
    if not (WORK / "run.lock").is_file():
        return ""
    with (WORK / "run.lock").open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return stream.read().strip() or "unknown"
    return ""


@contextmanager
def run_lock() -> Iterator[None]:
    """One run at a time in a project: two would plan and train the same stages twice.

    The supervisors of the stages hold the lock too: when a run is killed, the next one waits until its stages have
    saved their work. Within the process that has the lock it may be taken again.
    """
    global _has_run_lock
    if _has_run_lock:
        yield
        return
    WORK.mkdir(exist_ok=True)
    with (WORK / "run.lock").open("a+") as stream:
        if not try_lock(stream):
            _await_killed_run(stream)
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        with processes.keep_open(stream.fileno()):
            _has_run_lock = True
            try:
                yield
            finally:
                _has_run_lock = False


def _await_killed_run(stream: IO[str]) -> None:
    """Take the lock when the stages of a killed run have ended; FlowError while the run itself lives."""
    end = monotonic() + processes.GRACE_SECONDS + processes.KILL_SECONDS
    reported = False
    while not try_lock(stream):
        stream.seek(0)
        holder = stream.read().strip()
        if not holder.isdigit() or processes.is_running(int(holder)):
            raise FlowError(
                f"another run works in this project (process {holder or 'unknown'}); wait for it or stop it"
            )
        if monotonic() > end:
            raise FlowError(f"stages of a run that was killed (process {holder}) still work in this project; end them")
        if not reported:
            print(f"the run before (process {holder}) was killed; waiting until its stages have saved", file=sys.stderr)
        reported = True
        sleep(0.1)


def try_lock(stream: IO[str]) -> bool:
    """Whether the file could be locked, for as long as it is open."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
