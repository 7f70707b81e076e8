"""Curation checks: which collected pictures are worth training on.

A check is one file with a class (see `pipeline.curation.check.Check`) and one line here; it owns its params, the scores
that it needs, its reason codes with their words, and its verdict. Checks judge in this order, the cheap ones first.
`duplicates` and `series` are last, so that of several copies the best one is kept among those that are good, not one
that another check drops.
"""

from __future__ import annotations

CHECKS: dict[str, str] = {
    "size": "pipeline.curation.size:SizeCheck",
    "specimen": "pipeline.curation.specimen:SpecimenCheck",
    "corruption": "pipeline.curation.corruption:CorruptionCheck",
    "medium": "pipeline.curation.medium:MediumCheck",
    "detail": "pipeline.curation.detail:DetailCheck",
    "zero_shot": "pipeline.curation.zero_shot:ZeroShotCheck",
    "duplicates": "pipeline.curation.duplicates:DuplicatesCheck",
    "series": "pipeline.curation.series:SeriesCheck",
}
