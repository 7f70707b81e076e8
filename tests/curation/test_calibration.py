import math

import numpy as np
import pandas as pd
import pytest

from pipeline.curation.calibration import best_threshold, calibration
from pipeline.curation.check import Threshold


def _verdicts(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["verdict", "code", "clip_class", "clip_margin"])


MARGIN = Threshold("curate.zero_shot.min_margin", "clip_margin", "wrong_class", 0.0)
FOUR = _verdicts(
    ("keep", "kept", "alive", 0.2),
    ("keep", "kept", "alive", 0.1),
    ("drop", "wrong_class", "bird", -0.1),
    ("drop", "too_small", "", np.nan),
    ("keep", "kept", "alive", 0.9),
)


def test_precision_recall_and_confusion_against_labels():
    found = calibration(FOUR, np.array(["keep", "drop", "keep", "keep", ""]), [MARGIN])
    assert (found.n_keep, found.n_drop) == (3, 1)
    assert (found.quality.precision, found.quality.recall) == (0.5, pytest.approx(1 / 3))
    assert found.table.values.tolist() == [
        ["keep", "kept", "alive", 1, 1],
        ["drop", "too_small", "-", 1, 0],
        ["drop", "wrong_class", "bird", 1, 0],
    ]


def test_a_better_threshold_is_suggested_with_what_it_would_give():
    verdicts = _verdicts(*(("keep", "kept", "alive", margin) for margin in (0.1, 0.2, 0.3, 0.4)))
    found = calibration(verdicts, np.array(["drop", "drop", "keep", "keep"]), [MARGIN])
    (suggestion,) = found.suggestions
    assert (suggestion.threshold, suggestion.value) == (MARGIN, pytest.approx(0.25))
    assert (suggestion.reached.precision, suggestion.reached.recall, suggestion.present.precision) == (1.0, 1.0, 0.5)


def test_a_threshold_is_suggested_only_from_pictures_that_it_decides():
    found = calibration(FOUR.assign(clip_margin=np.nan), np.array(["keep", "drop", "", "", ""]), [MARGIN])
    assert not found.suggestions


@pytest.mark.parametrize(("labels", "precision", "recall"), [(["drop"] * 5, 0.0, math.nan), (["keep"] * 5, 1.0, 0.6)])
def test_labels_of_one_side_are_no_error(labels, precision, recall):
    found = calibration(FOUR, np.array(labels), [MARGIN])
    assert found.quality.precision == precision
    assert found.quality.recall == pytest.approx(recall, nan_ok=True)


def test_the_lowest_of_equally_good_thresholds_is_suggested():
    assert best_threshold(np.array([0.3, 0.5]), np.array([True, True])) == pytest.approx(0.299)
