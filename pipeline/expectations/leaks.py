"""Leaks across the split: pictures that are held out and trained on at once, as the same or nearly the same file."""

from __future__ import annotations

import numpy as np
import pandas as pd

HELD_OUT_AT_ONCE = 8  # held-out pictures that are compared with all others at a time: 80 000 of those fit the cache


def twins(table: pd.DataFrame, key: pd.Series) -> pd.Series:
    """The first file of the other split with the same key; empty where there is none, or no key."""
    known = table.assign(key=key.fillna("")).query("key != ''").drop_duplicates(["key", "split"])
    first = known.pivot(index="key", columns="split", values="file_name").reindex(columns=["train", "holdout"])
    other = key.map(first["holdout"]).where(table["split"] == "train", key.map(first["train"]))
    return other.fillna("").astype("str")


def near_twins(table: pd.DataFrame, phash_bits: int, dhash_bits: int) -> pd.Series:
    """A file of the other split within both distances (of 64 bits); empty where there is none, or no hash."""
    hashed = table[(table["phash"].fillna("") != "") & (table["dhash"].fillna("") != "")]
    train, held = (hashed[hashed["split"] == split] for split in ("train", "holdout"))
    of_train, of_held = np.full(len(train), -1), np.full(len(held), -1)
    train_p, train_d, held_p, held_d = (_bits(side[name]) for side in (train, held) for name in ("phash", "dhash"))
    for start in range(0, len(held), HELD_OUT_AT_ONCE):
        few = slice(start, start + HELD_OUT_AT_ONCE)
        close = np.flatnonzero(np.bitwise_count(held_p[few, None] ^ train_p) <= phash_bits)  # faster than in 2-D
        one, other = np.divmod(close, max(1, len(train)))
        near = np.bitwise_count(held_d[few][one] ^ train_d[other]) <= dhash_bits
        of_held[one[near] + start], of_train[other[near]] = other[near], one[near] + start
    found = pd.concat([_named(held, of_held, train), _named(train, of_train, held)])
    return found.reindex(table.index, fill_value="")


def _bits(column: pd.Series) -> np.ndarray:
    """16 hexadecimal digits each, as 64 bits."""
    return np.array([int(digits, 16) for digits in column], dtype=np.uint64)


def _named(side: pd.DataFrame, places: np.ndarray, other: pd.DataFrame) -> pd.Series:
    names = np.append(other["file_name"].to_numpy(dtype=object), "")  # place -1: no name
    return pd.Series(names[places], index=side.index, dtype="str")
