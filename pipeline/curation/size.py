"""Large enough to learn from."""

from __future__ import annotations

from collections.abc import Sequence, Set

from pipeline.core.records import Rejection
from pipeline.curation.looks import Findings, Look, Task


def check(looks: Sequence[Look], alive: Set[str], task: Task) -> Findings:
    """Drop as `too_small` when the shorter side (the score, in px) is below `min_side_px`."""
    least = task.params.min_side_px
    small = (look for look in looks if look.sha256 in alive and min(look.width_px, look.height_px) < least)
    return Findings({look.sha256: _rejection(look, least) for look in small})


def _rejection(look: Look, least: int) -> Rejection:
    side = min(look.width_px, look.height_px)
    sentence = f"{look.width_px} x {look.height_px} px: its shorter side has less than {least} px."
    return Rejection("size", "too_small", sentence, float(side))
