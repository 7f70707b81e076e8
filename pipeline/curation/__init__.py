"""What makes a picture worth training on: one check per file, every verdict with a code, a score and a sentence.

A check is `(scores, alive, params) -> Findings`: the scores of every decoded picture, which of them no earlier check
dropped, the thresholds. Pictures are measured from cheap to dear; judged is in the order of `CHECKS`, in which
`duplicates` and `series` are last, so that of several copies the best one is kept among those that are good, not one
that another check drops.
"""

from __future__ import annotations

from pipeline.curation import classes, detail, duplicates, media, series, size, specimen
from pipeline.curation.findings import Check

CHECKS: dict[str, Check] = {
    "size": size.check,
    "specimen": specimen.check,
    "media": media.check,
    "detail": detail.check,
    "classes": classes.check,
    "duplicates": duplicates.check,
    "series": series.check,
}
