"""Train/holdout split: whole series are held out, and whole authors where no author is too many of them.

So no scene is on both sides, and, where possible, no author: what the model has learnt of an author's style is then no
help with the pictures that measure it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.core.lineage import digest_json
from pipeline.curation import union_find

NOBODY = ("", "unknown", "anonymous", "unknown author")  # pictures by nobody known are not kept together
MAX_UNIT_SHARE = 0.4  # of the pictures; a larger unit is divided into its series


def units(series: pd.Series, authors: pd.Series) -> np.ndarray:
    """The pictures that stay together, as a name for each: those of one series, and those of one author.

    An author, or a chain of authors who share series, of more than `MAX_UNIT_SHARE` of the pictures is no unit: there
    only series stay together, or one side would have nothing.
    """
    who = authors.str.strip().str.casefold().to_numpy(dtype=object)
    apart = union_find.by_value(series.to_numpy(dtype=object).astype("U64"))
    known = ~np.isin(who, NOBODY)
    named = np.flatnonzero(known)
    same = union_find.by_value(who[named].astype("U")) if len(named) else named
    together = union_find.join(apart, named, named[same])
    counts = np.bincount(together, minlength=len(together))
    large = counts[together] > MAX_UNIT_SHARE * len(together)
    names = np.where(known, "0 " + who.astype("U"), "1 " + series.to_numpy(dtype=object).astype("U"))
    # Of each group the first name: authors come first, and theirs does not change when they make another picture.
    first = pd.Series(names).groupby(together).transform("min").to_numpy(dtype=object)
    return np.asarray(np.where(large, series.to_numpy(dtype=object), first))


def held_out(of: np.ndarray, seed: int, fraction: float) -> np.ndarray:
    """Which of n pictures to hold out, by the unit of each: (n,) of bool.

    Units come in the order of the hashes of (seed, unit); one is taken when the count comes nearer to `fraction` of the
    pictures with it than without. A hash depends on nothing but its unit, so a new picture moves few others. At least
    one unit is held out when anything may be (`fraction` > 0 and two units or more), and at least one is left.
    """
    names, counts = np.unique(of.astype("U"), return_counts=True)
    ranked = sorted(zip(names.tolist(), counts.tolist()), key=lambda unit: digest_json([seed, unit[0]]))
    wanted, taken = len(of) * fraction, 0
    chosen: list[str] = []
    for name, count in ranked:
        if len(chosen) < len(ranked) - 1 and abs(taken + count - wanted) < abs(taken - wanted):
            taken, chosen = taken + count, [*chosen, name]
    if not chosen and fraction > 0 and len(ranked) > 1:
        chosen = [min(ranked, key=lambda unit: unit[1])[0]]
    return np.isin(of.astype("U"), chosen)
