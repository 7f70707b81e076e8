import json

import numpy as np
import pytest

from pipeline.core import params as params_module
from pipeline.core.errors import ParamsError
from pipeline.curation.zero_shot import ZeroShotCheck, ZeroShotParams
from tests.curation.scored import CLASSES, COMPETING, all_of, curate, row, scores
from tests.project import ROOT

ROWS = ((1.0, 0.0), (0.6, 0.8))


def _two(cosines=ROWS, **kinds):
    named = zip(("first", "second"), cosines)
    return scores(*(row(name, **dict(zip(("cosine:alive", "cosine:bones"), pair)), **kinds) for name, pair in named))


def _check(frame, **changed):
    params = curate(zero_shot=ZeroShotParams.of(COMPETING).model_dump() | changed)
    return ZeroShotCheck().check(frame, all_of(frame), params)


def test_the_margin_between_the_best_classes_decides():
    findings = _check(_two())
    assert findings.columns["clip_class"].tolist() == ["alive", "bones"]
    assert findings.columns["clip_margin"].tolist() == [1.0, -0.2]
    assert findings.remarks == {0: "It looks like alive, 1.000 ahead of bones."}
    assert list(findings.drops) == [1] and not findings.doubts
    assert (findings.drops[1].code, findings.drops[1].score) == ("wrong_class", -0.2)
    assert findings.drops[1].sentence == "It looks like bones: alive is 0.200 behind."


def test_a_margin_that_is_too_small_is_named():
    findings = _check(_two(((0.8, 0.6), (1, 0))), min_margin=0.5)
    assert "only 0.200 ahead, and 0.5 is needed" in findings.drops[0].sentence


def test_a_negative_threshold_accepts_a_picture_that_is_behind():
    findings = _check(_two(), min_margin=-0.5)
    assert not findings.drops and "is accepted" in findings.remarks[1]


def test_a_small_margin_is_for_people_to_review():
    findings = _check(_two(((0.705, 0.7), (0.7, 0.705))))
    assert list(findings.drops) == [1] and sorted(findings.doubts) == [0, 1]


def test_trusted_pictures_are_not_judged():
    findings = _check(scores(row("first", trusted=True), row("second", trusted=True)))
    assert not findings.drops and np.isnan(findings.columns["clip_margin"]).all()
    assert findings.columns["clip_class"].tolist() == ["", ""]
    assert "Chosen by hand" in findings.remarks[0]


@pytest.mark.parametrize("kept", [(), tuple(CLASSES)])
def test_without_a_competing_class_clip_is_not_needed(kept):
    changed = curate(zero_shot={"classes": CLASSES, "keep_classes": kept})
    assert not ZeroShotCheck().needs_embeddings(changed) and ZeroShotCheck().needs_embeddings(COMPETING)
    assert _check(_two(), keep_classes=kept).drops == {}


def test_the_few_shot_classifier_decides_instead_of_the_prompts():
    findings = _check(_two().assign(few_shot=[0.1, 0.9]))
    assert list(findings.drops) == [0] and findings.drops[0].score == 0.1
    assert "probability of 0.10" in findings.drops[0].sentence and "probability of 0.90" in findings.remarks[1]
    assert not findings.doubts and list(_check(_two().assign(few_shot=[0.6, 0.9])).doubts) == [0]
    assert _check(_two().assign(few_shot=[np.nan, 0.9])).decided_by == {1: "few-shot"}


def test_the_score_of_a_kept_picture_is_its_margin_or_its_probability():
    assert _check(_two().assign(few_shot=[np.nan, 0.9])).kept_scores == {0: 1.0, 1: 0.9}


def test_its_prompts_are_columns_of_cosines_and_the_other_classes_reasons_of_the_review():
    assert ZeroShotCheck().prompts(COMPETING) == {f"cosine:{name}": prompts for name, prompts in CLASSES.items()}
    assert ZeroShotCheck().review_reasons(COMPETING) == ("bones",)


@pytest.mark.parametrize("zero_shot", [{"keep_classes": ["bird", "brid"]}, {"classes": {"bird": ["a bird"]}}])
def test_a_class_to_keep_that_is_none_of_the_classes_is_refused(zero_shot):
    shipped = params_module.load(ROOT / "params.yaml").model_dump(mode="json", include={"seed", "species"})
    text = json.dumps(shipped | {"curate": {"zero_shot": zero_shot}})  # JSON is YAML
    with pytest.raises(ParamsError, match="curate.zero_shot.keep_classes .* is none of curate.zero_shot.classes"):
        params_module.parse(text, "params.yaml")
