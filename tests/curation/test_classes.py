import numpy as np
import pytest

from pipeline.curation import classes
from tests.curation.scored import CLASSES, RACE, all_of, row, scores

ROWS = ((1.0, 0.0), (0.6, 0.8))


def _two(cosines=ROWS, **kinds):
    named = zip(("first", "second"), cosines)
    return scores(*(row(name, **dict(zip(("cosine:alive", "cosine:bones"), pair)), **kinds) for name, pair in named))


def _check(frame, **changed):
    return classes.check(frame, all_of(frame), RACE.model_copy(update=changed))


def test_the_race_between_classes_decides():
    findings = _check(_two())
    assert findings.columns["clip_class"].tolist() == ["alive", "bones"]
    assert findings.columns["clip_margin"].tolist() == [1.0, -0.2]
    assert findings.praise == {0: "It looks like alive, 1.000 ahead of bones."}
    assert list(findings.drops) == [1] and not findings.doubts
    assert (findings.drops[1].code, findings.drops[1].score) == ("wrong_class", -0.2)
    assert findings.drops[1].sentence == "It looks like bones: alive is 0.200 behind."


def test_a_lead_that_is_too_small_is_said_as_such():
    findings = _check(_two(((0.8, 0.6), (1, 0))), min_class_margin=0.5)
    assert "only 0.200 ahead, and 0.5 is asked" in findings.drops[0].sentence


def test_a_margin_below_nothing_lets_the_loser_pass():
    findings = _check(_two(), min_class_margin=-0.5)
    assert not findings.drops and "is let pass" in findings.praise[1]


def test_a_close_race_is_for_people_to_look_at():
    findings = _check(_two(((0.705, 0.7), (0.7, 0.705))))
    assert list(findings.drops) == [1] and sorted(findings.doubts) == [0, 1]


def test_trusted_pictures_are_not_asked():
    findings = _check(scores(row("first", trusted=True), row("second", trusted=True)))
    assert not findings.drops and np.isnan(findings.columns["clip_margin"]).all()
    assert findings.columns["clip_class"].tolist() == ["", ""]
    assert "Chosen by hand" in findings.praise[0]


@pytest.mark.parametrize("kept", [(), tuple(CLASSES)])
def test_without_a_rival_nothing_is_asked(kept):
    changed = RACE.model_copy(update={"keep_classes": kept})
    assert not classes.competing(changed) and classes.competing(RACE)
    assert _check(_two(), keep_classes=kept).drops == {}


def test_what_was_learnt_from_labels_decides_in_place_of_the_prompts():
    findings = _check(_two().assign(few_shot=[0.1, 0.9]))
    assert list(findings.drops) == [0] and findings.drops[0].score == 0.1
    assert "probability of 0.10" in findings.drops[0].sentence and "probability of 0.90" in findings.praise[1]
    assert not findings.doubts and list(_check(_two().assign(few_shot=[0.6, 0.9])).doubts) == [0]
