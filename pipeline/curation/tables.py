"""The table of verdicts (`verdicts.parquet`) and the card of a curated data set."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pandas as pd

from pipeline.core.lineage import digest_json
from pipeline.curation import embeddings

# The other measures are in scores.parquet only.
SHOWN_MEASURES = ["width_px", "height_px", "format", "frames", "sharpness", "entropy_bits", "phash", "dhash"]
SHOWN_MEASURES += ["pixel_sha256", "hue_deg", "saturation", "lightness"]
# No titles: of a column in which everything looks like a date, readers of JSON make dates, and then splits differ.
IMAGEFOLDER_COLUMNS = ["author", "licence", "licence_url", "page_url", "source", "sha256"]


def verdicts(stored: pd.DataFrame, scores: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    """One row per stored picture: its row of the manifest, its verdict, its measures, and its place on the map."""
    plane = pd.DataFrame(embeddings.plane(scores), columns=["map_x", "map_y"])
    return pd.concat([stored, judged, scores[SHOWN_MEASURES], plane], axis=1)


def card(species: str, table: pd.DataFrame, png_sha256: pd.Series) -> dict[str, Any]:
    """Counts and digest; `table` is the one of verdicts, `png_sha256` has the digest of each reduced picture."""
    kept = table["verdict"] == "keep"
    decisive = table[kept][["file_name", "caption", "licence", "author"]].assign(png=png_sha256[kept])
    return {
        "stage": "curate",
        "species": species,
        # What training and its credits depend on; a further dropped picture makes no other data set.
        "digest": digest_json(decisive.to_dict("records")),
        "n_train": int((table["split"] == "train").sum()),
        "n_holdout": int((table["split"] == "holdout").sum()),
        "n_dropped": int((~kept).sum()),
        "by_code": dict(Counter(table["code"])),
    }


def imagefolder_metadata(kept: pd.DataFrame) -> str:
    """`metadata.jsonl` of the folder of one split: each picture's file there, its caption as `text`, its rights."""
    rows = kept[["file_name", "caption", *IMAGEFOLDER_COLUMNS]].rename(columns={"caption": "text"})
    rows["file_name"] = rows["file_name"].str.rpartition("/")[2]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.to_dict("records"))
