"""Duplicates check: the same picture again, by equal pixels, or both perceptual hashes near, as seen or mirrored.

Either hash alone takes strangers for the same (two skies, two pages); together, at the default distances, none of
12 000 pairs of unrelated photographs was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.param_types import NonNegativeInt
from pipeline.core.reason_codes import ReasonCode
from pipeline.core.records import Rejection
from pipeline.curation import union_find
from pipeline.curation.check import Check, CheckFindings, CheckParams
from pipeline.curation.ranking import ranked_groups

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.core.data_params import Curate

BLOCK_PAIRS = 2**20  # compared at a time: 8 MB


class DuplicatesParams(CheckParams):
    """How near two perceptual hashes of 64 bits must be."""

    phash_bits: NonNegativeInt = 6
    """At most so many of 64 bits differ, and"""
    dhash_bits: NonNegativeInt = 8
    """so many of these: a near duplicate (mirrored ones too)."""
    review_phash_bits: NonNegativeInt = 12
    """Up to so many: perhaps one; kept, and first in `paleo review`."""


@dataclass(frozen=True)
class NearPairs:
    """Pairs of rows and how far apart they are, in bits of 64."""

    ones: np.ndarray
    others: np.ndarray
    phash: np.ndarray
    dhash: np.ndarray


class DuplicatesCheck(Check):
    """Keeps the best of each group that remains and drops the others as `duplicate` (score: pHash distance).

    Every picture, dropped or not, gets its `group`: the first 16 digits of the sha256 of the group's best picture, so
    a further copy that is no better changes no group. What may be a copy is for people to review.
    """

    Params = DuplicatesParams
    codes = (
        ReasonCode(
            "duplicate", "each picture once", "Copies", "The best of each group of copies is kept; the others are here."
        ),
    )
    columns = {"group": "str"}

    def check(self, scores: pd.DataFrame, remaining: np.ndarray, curate: Curate) -> CheckFindings:
        leaders, suspects = groups(scores, DuplicatesParams.of(curate))
        names = np.full(len(scores), "", dtype=object)
        findings = CheckFindings(columns={"group": names})
        for group, left, best in ranked_groups(scores, union_find.members(leaders), remaining):
            names[group] = scores["sha256"].iloc[best][:16]
            findings.drops.update({int(row): _rejection(scores.iloc[row], scores.iloc[best]) for row in left[1:]})
        for row in np.flatnonzero(remaining & (suspects >= 0)):
            if remaining[suspects[row]] and leaders[row] != leaders[suspects[row]]:
                findings.doubts[int(row)] = f"It may be a copy of {scores['source_id'].iloc[suspects[row]]!r}."
        return findings


def groups(scores: pd.DataFrame, params: DuplicatesParams) -> tuple[np.ndarray, np.ndarray]:
    """(leaders, suspects): each row's group of near duplicates, and the row that it may yet be a copy of, or -1.

    Likeness is passed on: the copy of a copy is in the group.
    """
    most_p, most_d = params.phash_bits, params.dhash_bits
    looser = max(0, params.review_phash_bits - most_p)
    leaders = union_find.by_value(scores["pixel_sha256"].to_numpy(dtype=object).astype("U64"))
    suspects, distance = np.full(len(scores), -1), np.full(len(scores), 255)
    for near in _pairs(scores, most_p + looser, most_d + looser):
        same = (near.phash <= most_p) & (near.dhash <= most_d)
        leaders = union_find.join(leaders, near.ones[same], near.others[same])
        _keep_nearest(suspects, distance, near.ones[~same], near.others[~same], near.phash[~same] + near.dhash[~same])
    return leaders, suspects


def _pairs(scores: pd.DataFrame, most_p: int, most_d: int) -> Iterator[NearPairs]:
    """Blocks of all pairs of different hashes within both distances, as seen or one of them mirrored."""
    bits = [_as_integers(scores[name]) for name in ("phash", "dhash", "mirrored_phash", "mirrored_dhash")]
    table, first, inverse = np.unique(np.stack(bits), axis=1, return_index=True, return_inverse=True)
    if len(first) < len(scores):  # rows with equal hashes are one in the search
        zero = np.zeros(len(scores), dtype=np.uint8)
        yield NearPairs(np.arange(len(scores)), first[inverse.ravel()], zero, zero)
    height = max(1, BLOCK_PAIRS // max(1, len(first)))
    for start in range(0, len(first), height):
        few = slice(start, start + height)
        for p, d in ((table[0], table[1]), (table[2], table[3])):
            yield _block(table[:2, few], p[start:], d[start:], most_p, most_d, first[start:])


def _block(few: np.ndarray, p: np.ndarray, d: np.ndarray, most_p: int, most_d: int, rows: np.ndarray) -> NearPairs:
    """`few` (2, k) hashes against the n mirrored or unmirrored ones from the same row on; each pair once."""
    apart = np.bitwise_count(few[0][:, None] ^ p)
    one, other = np.nonzero(apart <= most_p)
    later = one < other
    one, other = one[later], other[later]
    phash, dhash = apart[one, other], np.bitwise_count(few[1][one] ^ d[other])
    near = dhash <= most_d
    return NearPairs(rows[one[near]], rows[other[near]], phash[near], dhash[near])


def _keep_nearest(
    suspects: np.ndarray, distance: np.ndarray, ones: np.ndarray, others: np.ndarray, bits: np.ndarray
) -> None:
    """For both rows of every pair: the other one, when it is nearer than the one noted so far."""
    for mine, theirs in ((ones, others), (others, ones)):
        order = np.lexsort((theirs, bits))[::-1]  # of several, the nearest is written last
        mine, theirs, near = mine[order], theirs[order], bits[order]
        nearer = near < distance[mine]
        suspects[mine[nearer]], distance[mine[nearer]] = theirs[nearer], near[nearer]


def _as_integers(column: pd.Series) -> np.ndarray:
    """Hashes of 16 hexadecimal digits as (n,) uint64."""
    return np.array([int(digits, 16) for digits in column], dtype=np.uint64)


def _rejection(copy: pd.Series, best: pd.Series) -> Rejection:
    same = copy["pixel_sha256"] == best["pixel_sha256"]
    phash, dhash, mirrored = min((*_distances(copy, best, way), bool(way)) for way in ("", "mirrored_"))
    what = "The same pixels as" if same else "A mirrored copy of" if mirrored else "A copy of"
    bits = "" if same else f" (pHash {phash}, dHash {dhash} of 64 bits apart)"
    sentence = f"{what} {best['source_id']!r}, which is {_better(copy, best)}{bits}."
    return Rejection("duplicates", "duplicate", sentence, float(phash))


def _distances(copy: pd.Series, best: pd.Series, way: str) -> tuple[int, int]:
    """Of pHash and dHash, in bits."""
    phash, dhash = ((int(copy[name], 16) ^ int(best[way + name], 16)).bit_count() for name in ("phash", "dhash"))
    return phash, dhash


def _better(copy: pd.Series, best: pd.Series) -> str:
    if best["label"] == "keep" and copy["label"] != "keep":
        return "kept by a person"
    if best["width_px"] * best["height_px"] > copy["width_px"] * copy["height_px"]:
        return "larger"
    return "sharper" if best["sharpness"] > copy["sharpness"] else "the first of them"
