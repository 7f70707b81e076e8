"""Start-up time of the command line."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.claims import Claim

RUNS = 7


def measure(_: Path) -> list[Claim]:
    return [Claim("paleo --help (median)", statistics.median(_seconds() for _ in range(RUNS)), "s", at_most=0.4)]


def _seconds() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pipeline", "--help"], check=True, capture_output=True)
    return time.perf_counter() - started
