"""A head learnt from labels: logistic regression on frozen embeddings, which for rare taxa beats any prompt."""

from __future__ import annotations

import numpy as np

FOLDS = 5
INVERSE_REGULARISATION = 100.0  # for rows of length one that lie close together


def probabilities(embeddings: np.ndarray, labels: np.ndarray, least: int) -> np.ndarray:
    """How likely each picture is one to keep: (n,), NaN where there is no embedding or nothing to learn from.

    `embeddings` (n, d) has NaN rows for pictures that were not embedded; `labels` (n,) are keep, drop or empty. A head
    needs `least` labels of each side, and at least two (0: never). Labelled pictures are judged by heads that have not
    seen their labels, so that they can be used to measure how good the head is.
    """
    found = np.full(len(labels), np.nan)
    known = ~np.isnan(embeddings).any(axis=1) if embeddings.size else np.zeros(len(labels), dtype=bool)
    taught = known & (labels != "")
    keeps = int((labels[taught] == "keep").sum())
    fewest = min(keeps, int(taught.sum()) - keeps)
    if not least or fewest < max(least, 2):
        return found
    found[known & ~taught] = _learnt(embeddings[taught], labels[taught], embeddings[known & ~taught])
    found[taught] = _unseen(embeddings[taught], labels[taught], min(FOLDS, fewest))
    return np.round(found, 4)


def _learnt(seen: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return _head().fit(seen, labels == "keep").predict_proba(asked)[:, 1] if len(asked) else np.zeros(0)


def _unseen(rows: np.ndarray, labels: np.ndarray, folds: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    apart = StratifiedKFold(folds)  # in the order of the rows: no chance in it
    return cross_val_predict(_head(), rows, labels == "keep", cv=apart, method="predict_proba")[:, 1]


def _head():
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=INVERSE_REGULARISATION, class_weight="balanced", max_iter=1000)
