"""The demo in a fresh clone: cold, again, again beside a server; and how good its models are, which README.md shows."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks import demo_picture, demo_results, readme
from benchmarks.claims import Claim
from benchmarks.project import clone, command, environment, paleo

CHOSEN, STEPS = "chosen step", ("0", "50", "250", "500")


def measure(folder: Path) -> list[Claim]:
    project = clone(folder)
    cold, again = paleo(project, "run"), paleo(project, "run")
    publish(project, cold.seconds / 60)
    return [
        Claim("make demo, after installation", cold.seconds / 60, "min", at_most=6),
        Claim("peak memory of all its processes", cold.peak_bytes / 2**30, "GiB", at_most=4),
        Claim("again, nothing changed, no server", again.seconds, "s", at_most=15),
        Claim("again, nothing changed, server running", _again_beside_servers(project), "s", at_most=5),
        *_accuracies(project),
    ]


def publish(project: Path, minutes: float | None = None) -> None:
    """Write what the demo in `project` reached into benchmarks/results/, README.md and docs/demo.webp."""
    results = demo_results.read(project, minutes)
    demo_results.write(results)
    demo_picture.write(project, results)
    readme.write(results)


def _again_beside_servers(project: Path) -> float:
    servers = subprocess.Popen(command("up"), cwd=project, env=environment(project), stdout=subprocess.DEVNULL)
    try:
        _wait_for_servers(project)
        paleo(project, "run")  # the first run beside a new server also fills its caches
        return paleo(project, "run").seconds
    finally:
        servers.terminate()
        servers.wait(120)


def _wait_for_servers(project: Path, at_most_seconds: float = 120) -> None:
    deadline = time.monotonic() + at_most_seconds
    state = project / ".work" / "servers.json"
    while time.monotonic() < deadline:
        if state.exists() and _answers(json.loads(state.read_text())["PREFECT_API_URL"] + "/health"):
            return
        time.sleep(0.5)
    raise RuntimeError("`paleo up` did not come up")


def _answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=2).status == 200
    except (urllib.error.URLError, OSError):
        return False


def _accuracies(project: Path) -> list[Claim]:
    """Species accuracy in percent, averaged over the species."""
    mean = {step: _mean_accuracy(project, step) for step in (*STEPS, CHOSEN)}
    return [
        Claim("species accuracy, base model", mean["0"], "%", at_most=45),
        Claim("species accuracy, 50 steps", mean["50"], "%", at_most=min(mean["250"], mean["500"])),
        Claim("species accuracy, 250 steps", mean["250"], "%"),
        Claim("species accuracy, 500 steps", mean["500"], "%"),
        Claim("species accuracy, chosen step", mean[CHOSEN], "%", at_least=85),
    ]


def _mean_accuracy(project: Path, step: str) -> float:
    paths = sorted((project / "reports/evaluation").glob("*/details/verdict.json"))
    found = [json.loads(path.read_text()) for path in paths]
    keys = [str(verdict["step"]) if step == CHOSEN else step for verdict in found]
    values = [verdict["steps"][key]["species_accuracy"]["value"] for verdict, key in zip(found, keys)]
    return 100 * sum(values) / len(values)
