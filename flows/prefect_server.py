"""Prefect servers: those of a running `paleo up`, or the embedded one for a single run.

The embedded one is a child of our own. The one that Prefect would start by itself shares our process group: a Ctrl-C in
the terminal would end it first, and the run could no longer record that it was stopped.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flows import project
from flows.errors import FlowError
from pipeline.core import strict_json

START_SECONDS = 300  # a child that died is noticed at once
ADDRESSES = project.WORK / "servers.json"


def addresses() -> dict[str, Any]:
    """What a running `paleo up` wrote; empty when there is none (it may have died: see `answers`)."""
    try:
        found = strict_json.parse(ADDRESSES.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def use_running() -> bool:
    """Use the servers of a running `paleo up`, unless the environment names others; True for a Prefect server."""
    named = os.environ.get("PREFECT_API_URL")
    if named and not responds(named):
        raise FlowError(f"the Prefect server {named} does not answer; start it, or unset PREFECT_API_URL")
    found = addresses()
    for variable in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        address = found.get(variable)
        if address and not os.environ.get(variable) and answers(f"{address}/health"):
            os.environ[variable] = address
    return bool(os.environ.get("PREFECT_API_URL"))


class EmbeddedServer:
    """Prefect's API server for one run: started at once, awaited when needed, stopped when the interpreter ends."""

    def __init__(self) -> None:
        self.port = free_port()
        self.log = project.LOGS / "prefect-embedded.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._process = self._start()
        # registered before Prefect is imported, so it runs after Prefect has sent its last events
        atexit.register(self.stop)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def _start(self) -> subprocess.Popen[bytes]:
        app = ["--app-dir", str(_package_folder("prefect")), "--factory"]
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "error"]
        env = project.environment(PREFECT_UI_ENABLED="0", PREFECT__SERVER_EPHEMERAL="1", PREFECT__SERVER_FINAL="1")
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "uvicorn", *app, "prefect.server.api.server:create_app", *where],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def wait(self) -> None:
        """Wait until it answers; FlowError if it does not start."""
        end = time.monotonic() + START_SECONDS
        while not answers(f"{self.api}/health"):
            if self._process.poll() is not None or time.monotonic() > end:
                raise FlowError(f"Prefect's embedded server did not start: {last_lines(self.log)}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _package_folder(name: str) -> Path:
    spec = find_spec(name)
    assert spec and spec.origin, f"{name} is not installed"
    return Path(spec.origin).parent


def die_with_parent() -> None:
    """Linux: if we are killed, the server gets SIGTERM. Elsewhere it stays until it is stopped by hand."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str, timeout: float = 2.0) -> bool:
    """Whether this address answers with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def responds(url: str) -> bool:
    """Whether this address answers with any status, such as 401."""
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def last_lines(log: Path, most: int = 5) -> str:
    """The last lines of a log file, for a message."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " / ".join(line.strip() for line in lines[-most:]) or f"{log} is empty"
