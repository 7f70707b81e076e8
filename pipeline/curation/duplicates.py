"""The same picture again: equal pixels, or both perceptual hashes near, as seen or mirrored.

Either hash alone calls strangers the same (two skies, two pages); together, at the distances of params.yaml, none of
12 000 pairs of unrelated photographs did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.records import Rejection
from pipeline.curation import union_find
from pipeline.curation.findings import CheckFindings

if TYPE_CHECKING:  # children that decode need neither
    import pandas as pd

    from pipeline.core.params import Curate

BLOCK = 2**20  # pairs compared at a time: 8 MB


@dataclass(frozen=True)
class Near:
    """Pairs of rows and how far apart they are, in bits of 64."""

    ones: np.ndarray
    others: np.ndarray
    phash: np.ndarray
    dhash: np.ndarray


def check(scores: pd.DataFrame, alive: np.ndarray, params: Curate) -> CheckFindings:
    """Keep the best of each group that is still alive and drop the others as `duplicate` (score: pHash distance).

    Every picture, dropped or not, gets its `group`: the first 16 digits of the sha256 of the group's best picture, so
    a further copy that is no better changes no group. What may be a copy is for people to look at.
    """
    leaders, suspect = groups(scores, params)
    order, names = worth(scores), np.full(len(scores), "", dtype=object)
    findings = CheckFindings(columns={"group": names})
    for group in union_find.members(leaders):
        ranked = group[np.argsort(order[group])]
        living = ranked[alive[ranked]]
        best = living[0] if len(living) else ranked[0]
        names[group] = scores["sha256"].iloc[best][:16]
        findings.drops.update({int(row): _rejection(scores.iloc[row], scores.iloc[best]) for row in living[1:]})
    for row in np.flatnonzero(alive & (suspect >= 0)):
        if alive[suspect[row]] and leaders[row] != leaders[suspect[row]]:
            findings.doubts[int(row)] = f"It may be a copy of {scores['source_id'].iloc[suspect[row]]!r}."
    return findings


def groups(scores: pd.DataFrame, params: Curate) -> tuple[np.ndarray, np.ndarray]:
    """(leaders, suspects): each row's group of near duplicates, and the row that it may yet be a copy of, or -1.

    Likeness is passed on: the copy of a copy is in the group.
    """
    most_p, most_d = params.duplicate_phash_bits, params.duplicate_dhash_bits
    looser = max(0, params.review_phash_bits - most_p)
    leaders = union_find.by_value(scores["pixel_sha256"].to_numpy(dtype=object).astype("U64"))
    suspect, distance = np.full(len(scores), -1), np.full(len(scores), 255)
    for near in _pairs(scores, most_p + looser, most_d + looser):
        same = (near.phash <= most_p) & (near.dhash <= most_d)
        leaders = union_find.join(leaders, near.ones[same], near.others[same])
        _remember(suspect, distance, near.ones[~same], near.others[~same], near.phash[~same] + near.dhash[~same])
    return leaders, suspect


def worth(scores: pd.DataFrame) -> np.ndarray:
    """Place of each row when the best come first: kept by people, larger, sharper, clearer, smallest sha256."""
    area = scores["width_px"].to_numpy(dtype=float) * scores["height_px"].to_numpy(dtype=float)
    margin = scores["clip_margin"].fillna(-np.inf) if "clip_margin" in scores else np.zeros(len(scores))
    keys = (scores["sha256"], -np.asarray(margin), -scores["sharpness"], -area, scores["label"] != "keep")
    order = np.lexsort([np.asarray(key, dtype="U64" if n == 0 else float) for n, key in enumerate(keys)])
    places = np.empty(len(scores), dtype=int)
    places[order] = np.arange(len(scores))
    return places


def _pairs(scores: pd.DataFrame, most_p: int, most_d: int) -> Iterator[Near]:
    """Blocks of all pairs of different hashes within both distances, as seen or one of them mirrored."""
    hashes = {name: _bits(scores[name]) for name in ("phash", "dhash", "mirrored_phash", "mirrored_dhash")}
    table, first, inverse = np.unique(np.stack(list(hashes.values())), axis=1, return_index=True, return_inverse=True)
    if len(first) < len(scores):  # rows with equal hashes are one in the search
        zero = np.zeros(len(scores), dtype=np.uint8)
        yield Near(np.arange(len(scores)), first[inverse.ravel()], zero, zero)
    height = max(1, BLOCK // max(1, len(first)))
    for start in range(0, len(first), height):
        few = slice(start, start + height)
        for p, d in ((table[0], table[1]), (table[2], table[3])):
            yield _block(table[:2, few], p[start:], d[start:], most_p, most_d, first[start:])


def _block(few: np.ndarray, p: np.ndarray, d: np.ndarray, most_p: int, most_d: int, rows: np.ndarray) -> Near:
    """`few` (2, k) hashes against the n mirrored or unmirrored ones from the same row on; each pair once."""
    apart = np.bitwise_count(few[0][:, None] ^ p)
    one, other = np.nonzero(apart <= most_p)
    later = one < other
    one, other = one[later], other[later]
    phash, dhash = apart[one, other], np.bitwise_count(few[1][one] ^ d[other])
    near = dhash <= most_d
    return Near(rows[one[near]], rows[other[near]], phash[near], dhash[near])


def _remember(suspect: np.ndarray, distance: np.ndarray, ones, others, bits: np.ndarray) -> None:
    """For both rows of every pair: the other one, when it is nearer than what was remembered."""
    for mine, theirs in ((ones, others), (others, ones)):
        order = np.lexsort((theirs, bits))[::-1]  # of several, the nearest is written last
        mine, theirs, near = mine[order], theirs[order], bits[order]
        nearer = near < distance[mine]
        suspect[mine[nearer]], distance[mine[nearer]] = theirs[nearer], near[nearer]


def _bits(column: pd.Series) -> np.ndarray:
    """16 hexadecimal digits each, as 64 bits."""
    return np.array([int(digits, 16) for digits in column], dtype=np.uint64)


def _rejection(copy: pd.Series, best: pd.Series) -> Rejection:
    same = copy["pixel_sha256"] == best["pixel_sha256"]
    phash, dhash, mirrored = min((*_apart(copy, best, way), bool(way)) for way in ("", "mirrored_"))
    what = "The same pixels as" if same else "A mirrored copy of" if mirrored else "A copy of"
    bits = "" if same else f" (pHash {phash}, dHash {dhash} of 64 bits apart)"
    sentence = f"{what} {best['source_id']!r}, which is {_better(copy, best)}{bits}."
    return Rejection("duplicates", "duplicate", sentence, float(phash))


def _apart(copy: pd.Series, best: pd.Series, way: str) -> tuple[int, int]:
    return tuple((int(copy[name], 16) ^ int(best[way + name], 16)).bit_count() for name in ("phash", "dhash"))


def _better(copy: pd.Series, best: pd.Series) -> str:
    if best["label"] == "keep" and copy["label"] != "keep":
        return "kept by a person"
    if best["width_px"] * best["height_px"] > copy["width_px"] * copy["height_px"]:
        return "larger"
    return "sharper" if best["sharpness"] > copy["sharpness"] else "the first of them"
