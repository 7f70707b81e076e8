"""`paleo run`: find a Prefect server or start the embedded one, run the flow, show what it brought."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from flows import hardware, prefect_server, project, tables, versioning
from pipeline.core import verbosity


def run(species: list[str], *, refresh: bool, debug: bool) -> int:
    """The flow for these species, or for all; the exit code: 0, 1 (failed), 130 (stopped)."""
    project.chosen_species(species)
    hardware.check()
    versioning.check(versioning.switches(project.params(), None))
    server = None if prefect_server.use_running() else prefect_server.EmbeddedServer()
    project.check()  # while the server starts; a mistake ends it at once
    if verbosity.is_quiet():  # on the terminal; the logs that Prefect keeps are complete
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
    if server:
        os.environ["PREFECT_API_URL"] = server.api  # Prefect reads it when it is imported
    from flows.pipeline import pipeline

    if server:
        server.wait()
    _set_up_logging(debug, embedded_server=server is not None)
    state = pipeline(species=species, refresh=refresh, return_state=True)
    return _report(state, embedded_server=server is not None)


def _set_up_logging(debug: bool, *, embedded_server: bool) -> None:
    """A failure is logged as a sentence without an empty traceback, and no link to a UI that is not served."""
    if debug:
        return

    def wanted(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[0] is None:
            record.exc_info = None
        return not (embedded_server and str(record.msg).startswith("View at "))

    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).addFilter(wanted)


def _report(state: Any, *, embedded_server: bool) -> int:
    """Print the results of the flow run's state; the exit code."""
    result = state.result(raise_on_failure=False) if state.data is not None else None
    if result is not None and hasattr(result, "rows") and not verbosity.is_quiet():
        tables.show_result(result, embedded_server=embedded_server)
    if state.is_completed():
        return 0
    print(f"paleo run: {state.message}", file=sys.stderr)
    return 130 if state.is_cancelled() else 1
