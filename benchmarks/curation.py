"""Curation: precision and recall on the embedded world, speed against Pillow alone, memory for many rows."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pandas as pd

from benchmarks import synthetic_collections
from benchmarks.claims import Claim
from benchmarks.project import clone, environment, paleo
from pipeline.core import params as params_module
from pipeline.sources.world import items as synthetic

PHOTOGRAPHS, ROUNDS = 600, 3
ROWS = 100_000


def measure(folder: Path) -> list[Claim]:
    return [*_embedded(folder), _speed(folder / "photographs"), _memory(folder / "many")]


def _embedded(folder: Path) -> list[Claim]:
    project = clone(folder)
    params = params_module.load(project / "params.yaml")
    kept = relevant = good = 0
    for key in params.species:
        paleo(project, "collect", key)
        paleo(project, "curate", key)
        counts = _counts(project, key, params)
        kept, relevant, good = kept + counts[0], relevant + counts[1], good + counts[2]
    return [
        Claim("curation, precision", 100 * relevant / kept, "%", at_least=95),
        Claim("curation, recall", 100 * relevant / good, "%", at_least=90),
    ]


def _counts(project: Path, key: str, params: params_module.Params) -> tuple[int, int, int]:
    """(kept pictures, kept good ones, good ones there are); of an original and its copies just one counts."""
    source = params.species[key].sources[0]
    given = (source.taxon, params.seed, source.good, source.clutter)
    copies, truth = synthetic.duplicate_of(*given), synthetic.truth(*given)
    kept = pd.read_parquet(project / "data/curated" / key / "metadata.parquet")["source_id"]
    good = {name for name, kind in truth.items() if kind == "good"}
    found = {copies.get(name, name) for name in kept}
    return len(kept), len(found & good), len(good)


def _speed(folder: Path) -> Claim:
    """CPU seconds, which other work on the machine does not change, alternating, each time from nothing."""
    paths = synthetic_collections.project(folder)
    synthetic_collections.photographs(paths, PHOTOGRAPHS)
    resized, curated = [], []
    for _ in range(ROUNDS):
        shutil.rmtree(paths.work, ignore_errors=True)
        resized.append(_cpu_seconds("resize", paths.root))
        curated.append(_cpu_seconds("curate", paths.root))
    ratio = statistics.median(resized) / statistics.median(curated)
    what = f"curating {PHOTOGRAPHS} photographs without CLIP, speed per core against Pillow's decode and resize"
    return Claim(what, ratio, "x", at_least=0.8)


def _cpu_seconds(what: str, project: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.cpu_seconds", what, str(project)]
    done = subprocess.run(command, env=environment(project), cwd=project, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return float(done.stdout.split()[-1])


def _memory(folder: Path) -> Claim:
    """Every row is a picture of its own, decoded, measured, compared with all others and kept: the worst case."""
    paths = synthetic_collections.project(folder)
    synthetic_collections.small_pictures(paths, ROWS)
    done = paleo(paths.root, "curate", synthetic_collections.KEY)
    kept = pd.read_parquet(paths.curated / "metadata.parquet", columns=["sha256"])
    if len(kept) < 0.99 * ROWS:
        raise RuntimeError(f"only {len(kept)} of {ROWS} were kept: {done.output[-1000:]}")
    return Claim(f"memory for curating {ROWS} rows, children included", done.peak_bytes / 1e6, "MB", at_most=1000)
