"""Expectations: what must hold of a data set before anything is trained on it, as suites over tables of facts."""

from __future__ import annotations

from pipeline.expectations.curated_suite import AUTHORS, PICTURES
from pipeline.expectations.drift import QUANTITY_DRIFT
from pipeline.expectations.manifest_suite import CANDIDATES
from pipeline.expectations.suite import Suite

EXPECTATIONS: dict[str, Suite] = {
    "candidates": CANDIDATES,
    "pictures": PICTURES,
    "authors": AUTHORS,
    "quantities": QUANTITY_DRIFT,
}
