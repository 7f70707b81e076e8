import numpy as np
import pytest

from pipeline.curation import classes
from tests.curation.looks import CLASSES, all_of, look, task
from tests.pictures import scene

ROWS = np.array([[1.0, 0.0], [0.6, 0.8]])


def _two(**kinds) -> list:
    return [look("first", scene(1), **kinds), look("second", scene(2), **kinds)]


def test_the_race_between_classes_decides():
    first, second = looks = _two()
    findings = classes.check(looks, all_of(looks), task(ROWS))
    assert findings.notes[first.sha256] == {"clip_class": "alive", "clip_margin": 1.0}
    assert findings.notes[second.sha256] == {"clip_class": "bones", "clip_margin": -0.2}
    assert findings.praise[first.sha256] == "It looks like alive, 1.000 ahead of bones."
    assert list(findings.drops) == [second.sha256]
    rejection = findings.drops[second.sha256]
    assert (rejection.code, rejection.score) == ("wrong_class", -0.2)
    assert rejection.sentence == "It looks like bones: alive is 0.200 behind."


def test_a_lead_that_is_too_small_is_said_as_such():
    looks = _two()
    findings = classes.check(looks, all_of(looks), task(np.array([[0.8, 0.6], [1, 0]]), min_class_margin=0.5))
    assert "only 0.200 ahead, and 0.5 is asked" in findings.drops[looks[0].sha256].sentence


def test_a_margin_below_nothing_lets_the_loser_pass():
    looks = _two()
    findings = classes.check(looks, all_of(looks), task(ROWS, min_class_margin=-0.5))
    assert not findings.drops and "is let pass" in findings.praise[looks[1].sha256]


def test_trusted_pictures_are_not_asked():
    looks = _two(trusted=True)
    findings = classes.check(looks, all_of(looks), task())
    assert not findings.drops and not findings.notes
    assert "Chosen by hand" in findings.praise[looks[0].sha256]


@pytest.mark.parametrize("kept", [(), tuple(CLASSES)])
def test_without_a_rival_nothing_is_asked(kept):
    looks = _two()
    assert classes.check(looks, all_of(looks), task(keep_classes=kept)).drops == {}


def test_a_class_is_the_mean_direction_of_its_prompts():
    rows = classes.class_rows({"a": ["x", "y"]}, lambda prompts: np.eye(2)[: len(prompts)])
    assert rows == pytest.approx(np.array([[0.5**0.5, 0.5**0.5]]))
