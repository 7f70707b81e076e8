"""How many threads compute on a CPU, and how they wait for each other."""

from __future__ import annotations

import os
from collections.abc import Mapping

import psutil

from pipeline.core.errors import InputError

NUMBER = "OMP_NUM_THREADS"
# Variables that only one launcher sets: `io.launcher`, torchrun, accelerate.
LAUNCHED, TORCHRUN, ACCELERATE = "PALEO_LAUNCHED", "TORCHELASTIC_RUN_ID", "ACCELERATE_DYNAMO_USE_FULLGRAPH"


def number_of_threads(environment: Mapping[str, str], n_processes_here: int) -> int:
    """OMP_NUM_THREADS where the user has set it, else this process's share of the cores.

    The number decides how sums are split, hence the last bits of a result.

    Raises
    ------
    InputError
        When the variable is no positive whole number.
    """
    written = _environment_of_user(environment).get(NUMBER, "").split(",")[0].strip()
    if not written:
        return max(1, cores() // n_processes_here)
    if not written.isascii() or not written.isdigit() or int(written) < 1:
        raise InputError(f"{NUMBER} is {written!r}; set it to the number of threads to compute with, or unset it")
    return int(written)


def _environment_of_user(environment: Mapping[str, str]) -> Mapping[str, str]:
    """That of the launcher in a process that torchrun or accelerate started: they set the variable themselves."""
    if TORCHRUN not in environment and (LAUNCHED in environment or ACCELERATE not in environment):
        return environment
    try:
        return psutil.Process(os.getppid()).environ()
    except psutil.Error:  # it has ended, or belongs to another user
        return {}


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # not on macOS
