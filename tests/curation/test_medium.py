import numpy as np

from pipeline.curation.medium import MediumCheck
from tests.curation.scored import PARAMS, all_of, row, scores


def test_the_nearest_medium_is_named_and_nothing_is_dropped():
    frame = scores(
        row("a", **{"medium:painting": 0.1, "medium:drawing": 0.3}),
        row("b", **{"medium:painting": 0.2, "medium:drawing": -0.3}),
        row("not embedded", **{"medium:painting": np.nan, "medium:drawing": np.nan}),
    )
    findings = MediumCheck().check(frame, all_of(frame), PARAMS)
    assert findings.columns["medium"].tolist() == ["drawing", "painting", ""]
    assert not findings.drops


def test_without_clip_no_medium_is_known():
    frame = scores(row("a"), row("b"))
    assert MediumCheck().check(frame, all_of(frame), PARAMS).columns["medium"].tolist() == ["", ""]
