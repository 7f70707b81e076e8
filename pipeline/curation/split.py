"""Which pictures are never trained on: decided by group, so no copy of a held-out picture is learnt."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.core.lineage import digest_json


def held_out(groups: Iterable[str], seed: int, fraction: float) -> frozenset[str]:
    """The groups to hold out: the lowest hashes of (seed, group), rounded to `fraction` of all.

    A hash depends on nothing but its group, so a new picture moves at most one other across. At least one is held out
    when anything may be (`fraction` > 0 and two groups or more), and at least one is left for training.
    """
    ranked = sorted(set(groups), key=lambda group: digest_json([seed, group]))
    wanted = max(round(len(ranked) * fraction), 1 if fraction > 0 else 0)
    return frozenset(ranked[: max(0, min(wanted, len(ranked) - 1))])
