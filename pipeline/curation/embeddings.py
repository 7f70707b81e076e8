"""CLIP embeddings in the table of scores: as a matrix, their cosines to prompts, and the plane they are shown in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # params.yaml is read with the checks' params and without pandas
    import pandas as pd

Embed = Callable[[Sequence[str]], np.ndarray]  # n sentences -> (n, d) unit rows
Prompts = Mapping[str, Sequence[str]]


def matrix(scores: pd.DataFrame) -> np.ndarray:
    """The column `embedding` as (n, d) float32, NaN where there is none; (n, 1) of NaN without such a column."""
    known, rows = embedded(scores)
    found = np.full((len(scores), rows.shape[1]), np.nan, dtype=np.float32)
    found[known] = rows
    return found


def embedded(scores: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the rows that have an embedding (k,), and their embeddings (k, d) float32."""
    if "embedding" not in scores:
        return np.zeros(0, dtype=int), np.zeros((0, 1), np.float32)
    known = np.flatnonzero(scores["embedding"].notna())
    rows = [np.asarray(row, dtype=np.float32) for row in scores["embedding"].iloc[known]]
    return known, np.stack(rows) if rows else np.zeros((0, 1), np.float32)


def cosines(scores: pd.DataFrame, prompts: Prompts, embed: Embed) -> dict[str, np.ndarray]:
    """For each entry of `prompts` a column: the cosine of each picture to the mean direction of the sentences."""
    rows = matrix(scores)
    directions = {name: embed(list(sentences)).mean(axis=0) for name, sentences in prompts.items()}
    found = {name: rows @ (mean / np.linalg.norm(mean)) for name, mean in directions.items()}
    return {name: np.round(column.astype(np.float64), 5) for name, column in found.items()}


def plane(scores: pd.DataFrame) -> np.ndarray:
    """(n, 2): the embeddings on the plane in which they differ most (principal components), NaN without."""
    found = np.full((len(scores), 2), np.nan)
    rows = matrix(scores).astype(np.float64)
    known = ~np.isnan(rows).any(axis=1)
    if known.sum() < 3:
        return found
    centred = rows[known] - rows[known].mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, :-3:-1]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # an axis has no direction of its own
    found[known] = np.round(centred @ axes, 4)
    return found
