"""Few-shot classifier: logistic regression on frozen embeddings, which for rare taxa beats any prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # slow to import, and needed only where people have labelled pictures
    from sklearn.linear_model import LogisticRegression

FOLDS = 5
INVERSE_REGULARISATION = 100.0  # for rows of length one that lie close together


def probabilities(embeddings: np.ndarray, labels: np.ndarray, min_labels: int) -> np.ndarray:
    """How likely each picture is one to keep: (n,), NaN where there is no embedding or nothing to learn from.

    `embeddings` (n, d) has NaN rows for pictures that were not embedded; `labels` (n,) are keep, drop or empty. A
    classifier needs `min_labels` labels of each side, and at least two (0: never). Labelled pictures are judged by
    classifiers that were not trained on their labels, so that they can be used to measure how good it is.
    """
    found = np.full(len(labels), np.nan)
    known = ~np.isnan(embeddings).any(axis=1) if embeddings.size else np.zeros(len(labels), dtype=bool)
    train = known & (labels != "")
    keeps = int((labels[train] == "keep").sum())
    fewest = min(keeps, int(train.sum()) - keeps)
    if not min_labels or fewest < max(min_labels, 2):
        return found
    wanted, others = labels[train] == "keep", known & ~train
    if others.any():
        found[others] = _classifier().fit(embeddings[train], wanted).predict_proba(embeddings[others])[:, 1]
    found[train] = _cross_validated(embeddings[train], wanted, min(FOLDS, fewest))
    return np.round(found, 4)


def _cross_validated(rows: np.ndarray, wanted: np.ndarray, folds: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    in_order = StratifiedKFold(folds)  # of the rows: nothing random in it
    found: np.ndarray = cross_val_predict(_classifier(), rows, wanted, cv=in_order, method="predict_proba")
    return found[:, 1]


def _classifier() -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=INVERSE_REGULARISATION, class_weight="balanced", max_iter=1000)
