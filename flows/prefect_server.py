"""Prefect servers: those of a running `paleo up`, or the embedded one for a single run.

The embedded one is a child of our own. The one that Prefect would start by itself shares our process group: a Ctrl-C in
the terminal would end it first, and the run could no longer record that it was stopped.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows import project, server_requests
from flows.errors import FlowError
from pipeline.core import server_addresses, strict_json
from pipeline.core.server_addresses import ServerAddresses

START_SECONDS = 300  # a child that died is noticed at once
ADDRESSES = project.WORK / "servers.json"
API, PASSWORD, SERVER_PASSWORD = "PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"
MLFLOW = "MLFLOW_TRACKING_URI"


def addresses() -> dict[str, Any]:
    """What a running `paleo up` wrote; empty when there is none (it may have died: see `answers`)."""
    try:
        found = strict_json.parse(ADDRESSES.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def ui_addresses() -> ServerAddresses:
    """Where people find Prefect, MLflow and the gallery, for links."""
    written = Path(server_addresses.FILE)
    return server_addresses.parse(written.read_text(encoding="utf-8") if written.is_file() else "", os.environ)


def use_running() -> bool:
    """Use the servers of a running `paleo up`, unless the environment names others; True for a Prefect server."""
    named, found = os.environ.get(API), addresses()
    api, mlflow = found.get(API), found.get(MLFLOW)
    if api and named in (None, "", api) and answers(f"{api}/health"):
        use(api, found.get(PASSWORD, ""))
    elif named:
        _check(named)
    if mlflow and not os.environ.get(MLFLOW) and answers(f"{mlflow}/health"):
        os.environ[MLFLOW] = mlflow
    return bool(os.environ.get(API))


def use(api: str, password: str) -> None:
    """Prefect, which reads the environment when it is imported, and every child use this server of our own."""
    os.environ[API], os.environ[PASSWORD] = api, password
    os.environ.pop("PREFECT_API_KEY", None)  # of Prefect Cloud; it would be sent in place of the password


def new_password() -> str:
    """`user:password` of a server that starts: the environment's, else a random one."""
    return os.environ.get(SERVER_PASSWORD) or f"paleo:{secrets.token_urlsafe(16)}"


def _check(api: str) -> None:
    """FlowError unless the environment's server answers and takes the environment's credentials."""
    status = server_requests.status(f"{api}/admin/version", server_requests.prefect_authorization(), seconds=10)
    if status is None:
        raise FlowError(f"the Prefect server {api} does not answer; start it, or unset {API}")
    if status in (401, 403):
        raise FlowError(
            f"the Prefect server {api} refuses these credentials; set {PASSWORD}=USER:PASSWORD (or PREFECT_API_KEY) to "
            f"what it wants, or unset {API}"
        )


@contextmanager
def start_lock() -> Iterator[None]:
    """One start at a time: two servers would migrate the project's new database at once, and one of them would fail."""
    with (project.WORK / "servers.lock").open("a") as stream:
        if not project.try_lock(stream):
            print("waiting: another command starts servers in this project", file=sys.stderr, flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


class EmbeddedServer:
    """Prefect's API server for one run: started at once, awaited when needed, stopped when the interpreter ends."""

    def __init__(self) -> None:
        self.port, self.password = free_port(), new_password()
        self.log = project.LOGS / "prefect-embedded.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._process = self._start()
        # registered before Prefect is imported, so it runs after Prefect has sent its last events
        atexit.register(self.stop)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def _start(self) -> subprocess.Popen[bytes]:
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "error"]
        variables = {SERVER_PASSWORD: self.password, "PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"}
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "--factory", "flows.server_apps:prefect", *where],
                env=project.environment(**variables),
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
    return server_requests.status(url, seconds=timeout) == 200


def last_lines(log: Path, most: int = 5) -> str:
    """The last lines of a log file, for a message."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " / ".join(line.strip() for line in lines[-most:]) or f"{log} is empty"
