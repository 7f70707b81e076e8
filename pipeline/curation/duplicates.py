"""The same picture again: equal pixels, or both perceptual hashes near, as seen or mirrored.

Either hash alone calls strangers the same (two skies, two pages); together, at the distances of params.yaml, none of
12 000 pairs of unrelated photographs did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import combinations

from pipeline.core.params import Curate
from pipeline.core.records import Rejection
from pipeline.curation.hashes import distance
from pipeline.curation.looks import Findings, Look, Task


@dataclass(frozen=True)
class Likeness:
    """How near two pictures are, in bits of 64."""

    phash: int
    dhash: int
    mirrored: bool
    same_pixels: bool


def check(looks: Sequence[Look], alive: Set[str], task: Task) -> Findings:
    """Keep the best of each group that is still alive and drop the others as `duplicate` (score: pHash distance).

    Every picture, dropped or not, gets its `group`: the first 16 digits of the sha256 of the group's best picture, so
    a further copy that is no better changes no group.
    """
    findings = Findings()
    for group in groups(looks, task.params):
        living = sorted((look for look in group if look.sha256 in alive), key=_worth)
        best = living[0] if living else min(group, key=_worth)
        findings.notes.update({look.sha256: {"group": best.sha256[:16]} for look in group})
        findings.drops.update({look.sha256: _rejection(look, best) for look in living[1:]})
    return findings


def groups(looks: Sequence[Look], params: Curate) -> list[list[Look]]:
    """Partition by near duplicates; likeness is passed on: the copy of a copy is in the group. Order is kept."""
    leader = {look.sha256: look.sha256 for look in looks}
    for one, other in _near(looks, params):
        old, new = leader[other.sha256], leader[one.sha256]
        leader = {member: new if boss == old else boss for member, boss in leader.items()}
    found: dict[str, list[Look]] = {}
    for look in looks:
        found.setdefault(leader[look.sha256], []).append(look)
    return list(found.values())


def likeness(one: Look, other: Look) -> tuple[Likeness, Likeness]:
    """One picture laid over the other, as it is and mirrored."""
    a, b = one.hashes, other.hashes
    same = one.pixel_sha256 == other.pixel_sha256
    return (
        Likeness(distance(a.phash, b.phash), distance(a.dhash, b.dhash), False, same),
        Likeness(distance(a.phash, b.mirrored_phash), distance(a.dhash, b.mirrored_dhash), True, same),
    )


def _near(looks: Sequence[Look], params: Curate) -> Iterator[tuple[Look, Look]]:
    most_p, most_d = params.duplicate_phash_bits, params.duplicate_dhash_bits
    for one, other in combinations(looks, 2):
        if any(like.same_pixels or (like.phash <= most_p and like.dhash <= most_d) for like in likeness(one, other)):
            yield one, other


def _worth(look: Look) -> tuple[int, float]:
    """Largest first, then sharpest; sorting is stable, so then the first."""
    return (-look.width_px * look.height_px, -look.sharpness)


def _rejection(look: Look, best: Look) -> Rejection:
    like = min(likeness(look, best), key=lambda way: way.phash + way.dhash)
    what = "The same pixels as" if like.same_pixels else "A mirrored copy of" if like.mirrored else "A copy of"
    bits = "" if like.same_pixels else f" (pHash {like.phash}, dHash {like.dhash} of 64 bits apart)"
    sentence = f"{what} {best.name!r}, which is {_better(look, best)}{bits}."
    return Rejection("duplicates", "duplicate", sentence, float(like.phash))


def _better(look: Look, best: Look) -> str:
    if best.width_px * best.height_px > look.width_px * look.height_px:
        return "larger"
    return "sharper" if best.sharpness > look.sharpness else "the first of them"
