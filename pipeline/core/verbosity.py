"""Whether this process shows progress and summaries: `--quiet` leaves results, warnings and errors."""

from __future__ import annotations

QUIET_VARIABLE = "PALEO_QUIET"  # 1: as if --quiet were given to every command
_state = {"quiet": False}


def set_quiet(quiet: bool) -> None:
    """For the command that runs now; the command line calls it with the value of `--quiet`."""
    _state["quiet"] = quiet


def is_quiet() -> bool:
    return _state["quiet"]
