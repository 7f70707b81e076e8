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
