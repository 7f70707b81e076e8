"""The project that the current folder belongs to, and the environment variables of its commands."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.errors import FlowError
from pipeline.core import registry

WORK = Path(".work")
LOGS = WORK / "logs"

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
    root = next((folder for folder in (here, *here.parents) if (folder / "params.yaml").is_file()), None)
    if root is None or not (root / "dvc.yaml").is_file():
        raise FlowError(f"no params.yaml and dvc.yaml in {here} or above it; change into the project's folder")
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
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        written = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise FlowError(f"params.yaml is not valid YAML: {' '.join(str(error).split())}") from None
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
    """FlowError unless params.yaml is valid: a dry run of the first stage, before anything runs."""
    some = next(iter(params()["species"]))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "collect", some, "--dry-run"],
        env=environment(),
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        output = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise FlowError(output[-1].removeprefix("paleo collect: "))


@contextmanager
def run_lock() -> Iterator[None]:
    """One run at a time in a project: two would plan and train the same stages twice."""
    WORK.mkdir(exist_ok=True)
    with (WORK / "run.lock").open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise FlowError(f"another run works in this project (process {holder}); wait for it or stop it") from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
