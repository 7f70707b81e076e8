"""The table of scores: one row per stored picture, with every measure and score that verdicts come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import pandas as pd

from pipeline.core.records import Rejection
from pipeline.curation.measuring import Measures

FROM_MANIFEST = ["sha256", "source_id", "author", "shows"]
DTYPES = {"int": "Int64", "float": "float64", "str": "str"}  # a picture that cannot be decoded has no size
MEASURED: dict[str, str] = {field.name: DTYPES[str(field.type)] for field in fields(Measures)}
REFUSED = {"refused_code": "str", "refused_score": "float64", "refused_sentence": "str"}


def measured(stored: pd.DataFrame, found: Mapping[str, Measures | Rejection], trusted: frozenset[str]) -> pd.DataFrame:
    """Rows of the manifest with what was found of each file, by sha256: its measures, or why it has none.

    `trusted` are the labels of sources whose pictures are not judged by what they show.
    """
    rows = [found[sha256] for sha256 in stored["sha256"]]
    measures = [None if isinstance(row, Rejection) else row for row in rows]
    refused = [(row.code, row.score, row.sentence) if isinstance(row, Rejection) else ("", None, "") for row in rows]
    columns = {
        name: [getattr(row, name) if row else ("" if dtype == "str" else None) for row in measures]
        for name, dtype in MEASURED.items()
    }
    columns |= {name: [row[place] for row in refused] for place, name in enumerate(REFUSED)}
    added = {name: pd.Series(columns[name], dtype=dtype) for name, dtype in (MEASURED | REFUSED).items()}
    frame = stored[FROM_MANIFEST].reset_index(drop=True)
    return frame.assign(trusted=stored["source"].isin(trusted).to_numpy(), **added)


def to_embed(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows to embed: decoded, not of a trusted source, one of several with the same pixels.

    Small and double ones too: a threshold that is moved later finds their scores.
    """
    return scores[(scores["refused_code"] == "") & ~scores["trusted"]].drop_duplicates("pixel_sha256")


def with_embeddings(scores: pd.DataFrame, rows: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Add the column `embedding`, float16 (d,) or None, from rows by pixel_sha256."""
    wanted = ~scores["trusted"] & (scores["refused_code"] == "")
    found = [rows.get(pixels) if want else None for pixels, want in zip(scores["pixel_sha256"], wanted)]
    return scores.assign(embedding=pd.Series(found, index=scores.index, dtype=object))
