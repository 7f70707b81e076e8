"""`paleo run`: find a Prefect server or start the embedded one, run the flow, show what it brought."""

from __future__ import annotations

import json
import logging
import os
import sys

from flows import embedded, project, tables

ADDRESSES = project.WORK / "servers.json"


def run(species: list[str], *, refresh: bool, debug: bool) -> int:
    """The exit code: 0, 1 (failed), 130 (stopped)."""
    join_servers()
    server = None if os.environ.get("PREFECT_API_URL") else embedded.Server()
    if server:
        os.environ["PREFECT_API_URL"] = server.api  # Prefect reads it when it is imported
    from flows.pipeline import pipeline

    if server:
        server.wait()
    _quieten(debug)
    state = pipeline(species=species or None, refresh=refresh, return_state=True)
    return _report(state, embedded_server=server is not None)


def join_servers() -> None:
    """Use the servers of a running `paleo up`, unless the environment names others."""
    try:
        addresses = json.loads(ADDRESSES.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return
    for variable, health in (("PREFECT_API_URL", "/health"), ("MLFLOW_TRACKING_URI", "/health")):
        address = addresses.get(variable)
        if address and not os.environ.get(variable) and embedded.answers(address + health):
            os.environ[variable] = address


def _quieten(debug: bool) -> None:
    """A stage's failure is told in a sentence; Prefect would add the traceback of our own code, or an empty one."""
    if debug:
        return
    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).addFilter(_without_empty_traceback)


def _without_empty_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[0] is None:
        record.exc_info = None
    return True


def _report(state, *, embedded_server: bool) -> int:
    result = state.result(raise_on_failure=False) if state.data is not None else None
    if result is not None and hasattr(result, "rows"):
        tables.show_result(result, embedded_server=embedded_server)
    if state.is_completed():
        return 0
    print(f"paleo run: {state.message}", file=sys.stderr)
    return 130 if state.is_cancelled() else 1
