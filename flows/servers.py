"""`paleo up`: Prefect, MLflow, the gallery and the schedule as children on loopback, until Ctrl-C."""

from __future__ import annotations

import base64
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from flows import prefect_server, processes, project, versioning
from flows.errors import FlowError
from pipeline.core import server_addresses

START_SECONDS = prefect_server.START_SECONDS
STOP_SECONDS = 60  # the schedule may have to stop a training, which saves
HOST = "127.0.0.1"
# The caller's servers and their credentials, which our own services must not use.
CALLERS = (
    "PREFECT_API_URL",
    "PREFECT_API_KEY",
    "PREFECT_API_AUTH_STRING",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)
RELEASES = "releases"  # the pages of what is registered
VERSIONED = ("commit", "tag")  # what scheduled runs turn on; params.yaml may add the pushes, which need remotes


@dataclass
class Service:
    """One child process; `option` is the command-line option that sets its port."""

    name: str
    command: list[str]
    port: int = 0
    option: str = ""
    health: str = ""  # a path that answers 200 when the service is ready; empty: an open port is enough
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        return project.LOGS / f"{self.name}.log"


def up(args: Namespace) -> int:
    """Start everything, print where it is, wait for Ctrl-C or SIGTERM, stop everything."""
    project.LOGS.mkdir(parents=True, exist_ok=True)
    _check_cron(args.cron)
    switches, unversioned = _versioning(args.cron)
    password = prefect_server.new_password()
    services = [_prefect(args.prefect_port, password), _mlflow(args.mlflow_port), _gallery(args.gallery_port)]
    everything = [*services, _schedule(args.cron, switches, password, *services[:2])]
    with ExitStack() as starting:
        starting.enter_context(prefect_server.start_lock())
        _refuse_second()
        for service in services:
            _check_port(service)
        try:
            _bring_up(everything)
            _write_addresses(services, password)
            _write_links(services)
            starting.close()
            _print_addresses(services, password, args.cron, unversioned)
            _watch(everything)
        finally:
            prefect_server.ADDRESSES.unlink(missing_ok=True)
            _stop(everything)


def _refuse_second() -> None:
    running = prefect_server.addresses()
    if running and prefect_server.answers(f"{running[prefect_server.API]}/health"):
        raise FlowError(f"`paleo up` runs already in this project (process {running['pid']}); stop it first")


def _check_cron(cron: str | None) -> None:
    if cron is None:
        return
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=cron)
    except ValueError:
        raise FlowError(
            f"--cron {cron!r} is no cron expression; five fields: minute hour day month weekday, such as '0 3 * * 1'"
        ) from None


def _versioning(cron: str | None) -> tuple[Sequence[str], str]:
    """The switches that scheduled runs turn on, and why they turn on none; FlowError when one of params.yaml fails."""
    why = versioning.why_no_commit() if cron else ""
    switches = VERSIONED if cron and not why else ()
    versioning.check(versioning.switches(project.params(), dict.fromkeys(switches, True)))
    return switches, why


def _check_port(service: Service) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, service.port))
        except (OSError, OverflowError) as error:
            why = "is in use" if getattr(error, "errno", None) == errno.EADDRINUSE else f"cannot be used ({error})"
            raise FlowError(
                f"port {service.port} for {service.name} {why}; choose another with {service.option} PORT"
            ) from None


def _prefect(port: int, password: str) -> Service:
    variables = {
        prefect_server.SERVER_PASSWORD: password,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port}",  # the default is any
        # relative, or the UI on any port but 4200 would send its requests to 4200
        "PREFECT_SERVER_UI_API_URL": "/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    command = _uvicorn("flows.server_apps:prefect", port)
    return Service("prefect", command, port, "--prefect-port", "/api/health", variables)


def _mlflow(port: int) -> Service:
    mend = "pipeline.io.tracking.artifact_locations"  # a moved project's store, before the server starts
    command = _uvicorn("pipeline.io.tracking.mlflow_server:app", port, mend)
    return Service("mlflow", command, port, "--mlflow-port", "/health")


def _gallery(port: int) -> Service:
    return Service("gallery", _uvicorn("flows.server_apps:gallery", port), port, "--gallery-port")


def _uvicorn(app: str, port: int, *before: str) -> list[str]:
    where = ["--host", HOST, "--port", str(port), "--log-level", "warning"]
    return [sys.executable, "-m", *before, "uvicorn", "--factory", app, *where]


def _schedule(cron: str | None, switches: Sequence[str], password: str, prefect: Service, mlflow: Service) -> Service:
    env = _client_variables(prefect, mlflow, password)
    command = [sys.executable, "-m", "flows.schedule", *([cron, *switches] if cron else [])]
    return Service("schedule", command, env=env | {"PREFECT_RUNNER_POLL_FREQUENCY": "5"})


def _client_variables(prefect: Service, mlflow: Service, password: str) -> dict[str, str]:
    names = (prefect_server.API, prefect_server.PASSWORD, prefect_server.MLFLOW)
    return dict(zip(names, (f"{prefect.address}/api", password, mlflow.address), strict=True))


def _bring_up(services: list[Service]) -> None:
    """The servers side by side, then the schedule, which needs Prefect's."""
    *servers, schedule = services
    for service in servers:
        _start(service)
    for service in servers:
        _await(service, servers)
    _start(schedule)


def _start(service: Service) -> None:
    env = {key: value for key, value in project.environment().items() if key not in CALLERS} | service.env
    with service.log.open("wb") as log:
        service.process = processes.popen(service.command, env=env, stdout=log, stderr=subprocess.STDOUT)


def _await(service: Service, started: list[Service]) -> None:
    """Wait until a service is ready; FlowError when any started one exits, or it takes too long."""
    end = time.monotonic() + START_SECONDS
    while not _ready(service):
        for other in started:
            if other.process and other.process.poll() is not None:
                _raise_exited(other)
        if time.monotonic() > end:
            lines = prefect_server.last_lines(service.log)
            raise FlowError(f"{service.name} did not answer within {START_SECONDS} s: {lines}")
        time.sleep(0.1)


def _ready(service: Service) -> bool:
    if service.health:
        return prefect_server.answers(service.address + service.health)
    with socket.socket() as probe:
        return probe.connect_ex((HOST, service.port)) == 0


def _raise_exited(service: Service) -> NoReturn:
    code = service.process.returncode if service.process else ""
    raise FlowError(f"{service.name} exited by itself (exit code {code}): {prefect_server.last_lines(service.log)}")


def _write_addresses(services: list[Service], password: str) -> None:
    """For a `paleo run` in another terminal, and for no other user of this machine: the password is in it."""
    prefect, mlflow, gallery = services
    addresses = {"pid": os.getpid(), "gallery": gallery.address, **_client_variables(prefect, mlflow, password)}
    prefect_server.ADDRESSES.unlink(missing_ok=True)
    place = os.open(prefect_server.ADDRESSES, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600)
    with open(place, "w", encoding="utf-8") as stream:
        json.dump(addresses, stream)


def _write_links(services: list[Service]) -> None:
    """Where people find the servers, which stays when they stop; pages that were made with other addresses anew."""
    file = Path(server_addresses.FILE)
    text = json.dumps({service.name: service.address for service in services}, sort_keys=True)
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    file.write_text(text, encoding="utf-8")
    if Path(RELEASES).is_dir():
        command = [sys.executable, "-m", "pipeline", "register", "--links"]
        subprocess.run(command, env=project.environment(), capture_output=True)  # the next `paleo run` repeats it


def _print_addresses(services: list[Service], password: str, cron: str | None, unversioned: str) -> None:
    prefect, mlflow, gallery = (service.address for service in services)
    logged_in = base64.b64encode(password.encode()).decode()
    print(f"runs      {prefect}/open#{logged_in}")
    print(f"          logs a browser in; the password is {password}")
    print(f"models    {mlflow}/#/models?workflowType=machine_learning")
    print(f"gallery   {gallery}")
    print(f"schedule  {f'{cron} (UTC)' if cron else 'none (--cron); start a run in Prefect or with `paleo run`'}")
    if cron:
        made = "dvc.lock is committed when it changed, and tagged <species>/v<N> when the pictures changed"
        print(f"versions  {f'none: {unversioned}' if unversioned else made}")
    print(f"logs      {project.LOGS}/\n\nCtrl-C stops everything.", flush=True)


def _watch(services: list[Service]) -> NoReturn:
    """Wait until a signal raises KeyboardInterrupt; FlowError when a child exits by itself."""
    while True:
        for service in services:
            if service.process and service.process.poll() is not None:
                _raise_exited(service)
        time.sleep(0.5)


def _stop(services: list[Service]) -> None:
    """The schedule first: its run still reports to the servers that it was stopped."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave children
    for group in (services[-1:], services[:-1]):
        processes.terminate([service.process for service in group if service.process], STOP_SECONDS)
