"""What makes a picture worth training on: one check per file, every verdict with a code, a score and a sentence.

A check is `(looks, alive, task) -> Findings`: everything that was decoded, the sha256 of those that no earlier check
dropped, and what the checks need to know. `CHECKS` runs from cheap to dear; `duplicates` is last, so that of several
copies the best one is kept among those that are good, not one that another check drops.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.curation import classes, duplicates, sharpness, size
from pipeline.curation.looks import Findings

CHECKS: dict[str, Callable[..., Findings]] = {
    "size": size.check,
    "sharpness": sharpness.check,
    "classes": classes.check,
    "duplicates": duplicates.check,
}
