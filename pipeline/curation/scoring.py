"""The table of scores: one row per stored picture, with every raw measure that verdicts come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields

import numpy as np
import pandas as pd

from pipeline.core.records import Rejection
from pipeline.curation import classes, few_shot, media
from pipeline.curation.measuring import Measures

FROM_MANIFEST = ["sha256", "source_id", "author", "shows"]
TYPES = {"int": "Int64", "float": "float64", "str": "str"}  # a picture that cannot be decoded has no size
MEASURED = {field.name: TYPES[field.type] for field in fields(Measures)}
REFUSED = {"refused_code": "str", "refused_score": "float64", "refused_sentence": "str"}

Embed = Callable[[Sequence[str]], np.ndarray]  # n sentences -> (n, d) unit rows
Prompts = Mapping[str, Sequence[str]]


def measured(stored: pd.DataFrame, seen: Mapping[str, tuple | Rejection], trusted: frozenset[str]) -> pd.DataFrame:
    """Rows of the manifest and what was seen of each, by sha256: the values of `Measures`, or why there are none.

    `trusted` are the labels of sources whose pictures are not asked what they show.
    """
    found = [seen[sha] for sha in stored["sha256"]]
    nothing = tuple("" if kind == "str" else None for kind in MEASURED.values())
    values = [nothing if isinstance(one, Rejection) else one for one in found]
    refused = [(one.code, one.score, one.sentence) if isinstance(one, Rejection) else ("", None, "") for one in found]
    columns = dict(zip(MEASURED, zip(*values))) | dict(zip(REFUSED, zip(*refused)))
    frame = stored[FROM_MANIFEST].reset_index(drop=True).assign(trusted=stored["source"].isin(trusted).to_numpy())
    added = {name: pd.Series(columns[name], dtype=kind) for name, kind in (MEASURED | REFUSED).items()}
    return frame.assign(**added, few_shot=np.nan)


def to_embed(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows to ask CLIP about: decoded, not of a trusted source, one of several with the same pixels.

    Small and double ones too: a threshold that is moved later finds their scores.
    """
    return scores[(scores["refused_code"] == "") & ~scores["trusted"]].drop_duplicates("pixel_sha256")


def with_embeddings(scores: pd.DataFrame, rows: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Add the column `embedding`, float16 (d,) or None, from rows by pixel_sha256."""
    asked = ~scores["trusted"] & (scores["refused_code"] == "")
    found = [rows.get(pixels) if ask else None for pixels, ask in zip(scores["pixel_sha256"], asked)]
    return scores.assign(embedding=pd.Series(found, index=scores.index, dtype=object))


def with_cosines(scores: pd.DataFrame, prompts: Prompts, named_media: Prompts, embed: Embed) -> pd.DataFrame:
    """Add a column with the cosine to each class and to each medium."""
    rows = matrix(scores)
    columns = {}
    for prefix, of in ((classes.PREFIX, prompts), (media.PREFIX, named_media)):
        for name, cosines in zip(of, (rows @ class_rows(of, embed).T).T if of else ()):
            columns[prefix + name] = np.round(cosines.astype(np.float64), 5)
    return scores.assign(**columns)


def with_few_shot(scores: pd.DataFrame, labels: np.ndarray, least: int) -> pd.DataFrame:
    """Add the probability that a head learnt from labels gives each picture, where there is one."""
    if "embedding" not in scores:
        return scores
    return scores.assign(few_shot=few_shot.probabilities(matrix(scores), labels, least))


def class_rows(prompts: Prompts, embed: Embed) -> np.ndarray:
    """One unit row (k, d) per class: the mean direction of its prompts."""
    means = np.stack([embed(list(sentences)).mean(axis=0) for sentences in prompts.values()])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def matrix(scores: pd.DataFrame) -> np.ndarray:
    """The embeddings as (n, d) float32, NaN where there is none."""
    known = scores["embedding"].notna().to_numpy()
    rows = [np.asarray(row, dtype=np.float32) for row in scores["embedding"][known]]
    found = np.full((len(scores), len(rows[0]) if rows else 1), np.nan, dtype=np.float32)
    if rows:
        found[known] = np.stack(rows)
    return found


def plane(scores: pd.DataFrame) -> np.ndarray:
    """(n, 2): the embeddings on the plane in which they differ most (principal components), NaN without."""
    found = np.full((len(scores), 2), np.nan)
    if "embedding" not in scores:
        return found
    rows = matrix(scores).astype(np.float64)
    known = ~np.isnan(rows).any(axis=1)
    if known.sum() < 3:
        return found
    centred = rows[known] - rows[known].mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, :-3:-1]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # an axis has no direction of its own
    found[known] = np.round(centred @ axes, 4)
    return found
