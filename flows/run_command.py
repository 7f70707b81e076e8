"""`paleo run`: find a Prefect server or start the embedded one, run the flow, show what it brought."""

from __future__ import annotations

import os
import sys
from typing import Any

from flows import hardware, prefect_server, project, run_log, tables, versioning
from pipeline.core import verbosity


def run(species: list[str], *, refresh: bool, debug: bool) -> int:
    """The flow for these species, or for all; the exit code: 0, 1 (failed), 130 (stopped)."""
    project.chosen_species(species)
    hardware.check()
    versioning.check(versioning.switches(project.params(), None))
    with project.run_lock():  # before a server starts: two would migrate the same new database
        return _run(species, refresh=refresh, debug=debug)


def _run(species: list[str], *, refresh: bool, debug: bool) -> int:
    with prefect_server.start_lock():
        server = None if prefect_server.use_running() else prefect_server.EmbeddedServer()
        project.check()  # while the server starts; a mistake ends it at once
        if verbosity.is_quiet():  # on the terminal; the logs that Prefect keeps are complete
            os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
        if server:
            prefect_server.use(server.api, server.password)
        from flows.pipeline import pipeline

        if server:
            server.wait()
    if not debug:
        run_log.set_up(embedded_server=server is not None)
    state = pipeline(species=species, refresh=refresh, return_state=True)
    return _report(state, embedded_server=server is not None)


def _report(state: Any, *, embedded_server: bool) -> int:
    """Print the results of the flow run's state; the exit code."""
    result = state.result(raise_on_failure=False) if state.data is not None else None
    if result is not None and hasattr(result, "rows") and not verbosity.is_quiet():
        tables.show_result(result, embedded_server=embedded_server)
    if state.is_completed():
        return 0
    print(f"paleo run: {state.message}", file=sys.stderr)
    return 130 if state.is_cancelled() else 1
