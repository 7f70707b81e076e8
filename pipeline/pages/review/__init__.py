"""The review page, on which a person judges pictures: the least certain first, those of one series together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from pipeline.pages import render
from pipeline.pages.credits import web_address

SHOWN = 5000  # pictures on one page; a person tires earlier than a browser
REASONS = ("another animal", "poor quality", "a copy of another picture")
KEYS = 10  # reasons that have a digit: 1 to 9, and 0 for the last
SCRIPTS = ["review/review_state.js", "review/review.js", "review/review_keys.js", "gallery/copy.js"]


def review_page(
    name: str,
    key: str,
    digest: str,
    verdicts: pd.DataFrame,
    reviews: pd.DataFrame,
    *,
    check_reasons: Sequence[str] = (),
    larger: Mapping[str, str] | None = None,
) -> str:
    """The page for the species `key`, called `name`; it lies beside `thumbs/<sha256>.webp`.

    `verdicts` are rows of `verdicts.parquet`, of which those that were decoded are shown; `reviews` has the verdicts of
    people so far. `check_reasons` are those that curation checks offer for dropping a picture. `larger` has addresses
    of the full pictures by sha256, where they are at hand. `digest` is that of the data set: verdicts that a browser
    remembers belong to it.
    """
    everything = ordered(verdicts)
    shown = everything.head(SHOWN)
    pictures = [_picture(row, (larger or {}).get(row.sha256, "")) for row in shown.itertuples()]
    clusters = groupby(enumerate(pictures), key=lambda item: item[1]["cluster"])
    return render(
        "review/review.html",
        scripts=SCRIPTS,
        name=name,
        key=key,
        clusters=[list(members) for _, members in clusters],
        n_left_out=len(everything) - len(shown),
        n_unseen=len(verdicts) - len(everything),
        data={
            "species": key,
            "digest": digest,
            "reasons": reasons(check_reasons),
            "reviews": reviews.to_dict("records"),
            "pictures": pictures,
        },
    )


def ordered(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The decoded pictures in the order of the page, with the column `cluster`.

    Least certain first: what curation was in doubt about, then the smallest distance from the border between two
    classes. A series stands where its least certain picture does.
    """
    decoded = verdicts[verdicts["width_px"].notna()]
    cluster = decoded["series"].where(decoded["series"] != "", decoded["group"])
    cluster = cluster.where(cluster != "", decoded["sha256"])
    ranked = decoded.assign(cluster=cluster, sure=decoded["uncertain"] == "", distance=decoded["clip_margin"].abs())
    ranked = ranked.sort_values(["sure", "distance", "sha256"], ignore_index=True).assign(place=np.arange(len(decoded)))
    first = ranked.groupby("cluster")["place"].transform("min")
    return ranked.assign(first=first).sort_values(["first", "place"], ignore_index=True)


def reasons(check_reasons: Sequence[str]) -> list[str]:
    """What may be wrong with a picture, each under a digit: what checks offer, and `REASONS`."""
    own = list(check_reasons)[: KEYS - len(REASONS)]
    return [*own, *(reason for reason in REASONS if reason not in own)]


def _picture(row: Any, larger: str) -> dict[str, Any]:
    """The entry of a picture in the JSON of the page."""
    return {
        "sha256": row.sha256,
        "cluster": row.cluster,
        "thumb": f"thumbs/{row.sha256}.webp",
        "larger": larger,
        "verdict": row.verdict,
        "by": row.decided_by,
        "code": row.code,
        "sentence": row.sentence,
        "uncertain": row.uncertain,
        "class": row.clip_class,
        "margin": f"{row.clip_margin:+.3f}" if pd.notna(row.clip_margin) else "",
        "caption": row.caption,
        "title": row.title or row.source_id,
        "author": row.author or "unknown author",
        "licence": row.licence,
        "source": row.source,
        "page": web_address(row.page_url) or web_address(row.image_url),
        "size": f"{int(row.width_px)} × {int(row.height_px)} px",
    }
