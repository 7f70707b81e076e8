"""`paleo run`: find a Prefect server or start the embedded one, run the flow, show what it brought."""

from __future__ import annotations

import logging
import os
import sys

from flows import hardware, prefect_server, project, tables


def run(species: list[str], *, refresh: bool, debug: bool) -> int:
    """The flow for these species, or for all; the exit code: 0, 1 (failed), 130 (stopped)."""
    project.chosen_species(species)
    hardware.check()
    server = None if prefect_server.join() else prefect_server.Server()
    project.check()  # while the server starts; a mistake ends it at once
    if server:
        os.environ["PREFECT_API_URL"] = server.api  # Prefect reads it when it is imported
    from flows.pipeline import pipeline

    if server:
        server.wait()
    _quieten(debug, embedded_server=server is not None)
    state = pipeline(species=species, refresh=refresh, return_state=True)
    return _report(state, embedded_server=server is not None)


def _quieten(debug: bool, *, embedded_server: bool) -> None:
    """A failure is told in a sentence: no empty traceback after it; and no link to pages that nobody serves."""
    if debug:
        return

    def wanted(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[0] is None:
            record.exc_info = None
        return not (embedded_server and str(record.msg).startswith("View at "))

    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).addFilter(wanted)


def _report(state, *, embedded_server: bool) -> int:
    result = state.result(raise_on_failure=False) if state.data is not None else None
    if result is not None and hasattr(result, "rows"):
        tables.show_result(result, embedded_server=embedded_server)
    if state.is_completed():
        return 0
    print(f"paleo run: {state.message}", file=sys.stderr)
    return 130 if state.is_cancelled() else 1
