"""One `paleo up` serves all flow tests; mini projects are copies of a template."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from flows.prefect_server import free_port
from tests.flows import mini_project as mini


@pytest.fixture(scope="session")
def fresh_template(tmp_path_factory) -> Path:
    return mini.make(tmp_path_factory.mktemp("template") / "fresh")


@pytest.fixture
def fresh(fresh_template, tmp_path) -> Path:
    """A mini project in which nothing has run."""
    return Path(shutil.copytree(fresh_template, tmp_path / "project", symlinks=True))


@pytest.fixture(scope="session")
def up(fresh_template, tmp_path_factory) -> Path:
    """The project in which `paleo up` runs (a schedule that never comes due in a test); it must end without a trace."""
    folder = Path(shutil.copytree(fresh_template, tmp_path_factory.mktemp("up") / "served", symlinks=True))
    ports = [f"--{name}-port={free_port()}" for name in ("prefect", "mlflow", "gallery")]
    log = folder.with_suffix(".log")
    process = mini.start(folder, "up", "--cron", "0 3 1 1 *", *ports, log=log)
    try:
        mini.until(lambda: "Ctrl-C stops everything" in log.read_text() or process.poll() is not None, "up", 250)
        assert process.poll() is None, log.read_text()
        yield folder
    finally:
        process.send_signal(signal.SIGTERM)
        code = mini.ended(process)
    assert code == 130 and "paleo up: stopped" in log.read_text(), log.read_text()
    assert not mini.survivors(folder)
    assert not (folder / ".work/servers.json").exists()
    # What the scheduler says at every turn with SQLAlchemy 2.1. One write that finds SQLite locked is no fault.
    assert "InvalidRequestError" not in (folder / ".work/logs/prefect.log").read_text()


@pytest.fixture(scope="session")
def server(up) -> dict[str, str]:
    """The environment that points at its Prefect server."""
    addresses = json.loads((up / ".work/servers.json").read_text())
    return {name: addresses[name] for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")}


@pytest.fixture(scope="session")
def finished_template(fresh_template, tmp_path_factory, server) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = Path(shutil.copytree(fresh_template, tmp_path_factory.mktemp("template") / "finished", symlinks=True))
    mini.wish(folder, "slow", "1.5")
    done = mini.flows(folder, "run", **server)
    mini.unwish(folder, "slow")
    return folder, done


@pytest.fixture
def finished(finished_template, tmp_path) -> Path:
    """A mini project in which everything has run, and the record of what ran is empty again."""
    folder, done = finished_template
    assert done.returncode == 0, done.stdout + done.stderr
    copy = Path(shutil.copytree(folder, tmp_path / "project", symlinks=True))
    mini.forget(copy)
    return copy
