"""Facts about curated pictures: the row of each in the table, its file, and its twins across the split."""

from __future__ import annotations

import pandas as pd

from pipeline.expectations.leaks import near_twins, twins
from pipeline.expectations.rights import rights_of

REQUIRED_COLUMNS = (
    "source",
    "file_name",
    "split",
    "page_url",
    "licence",
    "author",
    "caption",
    "sha256",
    "pixel_sha256",
    "phash",
    "dhash",
    "group",
    "series",
    "sharpness",
    "clip_margin",
)


def facts(
    kept: pd.DataFrame, inspected: pd.DataFrame, licences: tuple[str, ...], phash_bits: int, dhash_bits: int
) -> pd.DataFrame:
    """One row per picture.

    `inspected` has one row per row of `kept`: problem (empty when the file opens), width_px, height_px, mode, pixels
    (sha256 of what is shown). What cannot be read of a damaged file is missing there, and fails only `decodable`.
    """
    inspected = inspected.set_index(kept.index)
    sides = inspected[["width_px", "height_px"]].astype(float)
    caption = kept["caption"].fillna("")
    shared = rights_of(kept, licences), _across_the_split(kept, inspected["pixels"], phash_bits, dhash_bits)
    return pd.concat(shared, axis=1).assign(
        file_name=kept["file_name"],
        split=kept["split"],
        problem=inspected["problem"],
        pixels=inspected["pixels"],
        mode=inspected["mode"],
        side_px=sides.min(axis=1),
        # Longer by shorter side; half a pixel each is forgiven, which reducing a picture may have rounded.
        aspect=(sides.max(axis=1) - 0.5) / (sides.min(axis=1) + 0.5),
        caption=caption,
        caption_characters=caption.str.strip().str.len(),
        caption_words=caption.str.split().str.len(),
        sharpness=kept["sharpness"].astype(float),
        clip_margin=kept["clip_margin"].astype(float),
    )


def _across_the_split(kept: pd.DataFrame, pixels: pd.Series, phash_bits: int, dhash_bits: int) -> pd.DataFrame:
    """For each picture the file on the other side of the split that is the same, nearly the same, of its series."""
    same = [twins(kept, kept["sha256"]), twins(kept, kept["pixel_sha256"]), twins(kept, pixels)]
    near = [twins(kept, kept["group"]), near_twins(kept, phash_bits, dhash_bits)]
    return pd.DataFrame(
        {"same": _first(same), "near": _first(near), "series": twins(kept, kept["series"])}, index=kept.index
    )


def _first(columns: list[pd.Series]) -> pd.Series:
    """Of each row the first value that is not empty."""
    found = columns[0]
    for column in columns[1:]:
        found = found.mask(found == "", column)
    return found
