"""Curation of the embedded world against what was really drawn."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.claims import Claim
from benchmarks.project import clone, paleo
from pipeline.core import params as params_module
from pipeline.sources import synthetic


def measure(folder: Path) -> list[Claim]:
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
