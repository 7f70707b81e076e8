import numpy as np
import pytest

from pipeline.core.records import Rejection
from pipeline.curation import CHECKS
from pipeline.curation.all_checks import all_checks
from pipeline.curation.check import Check, CheckFindings
from pipeline.curation.verdicts import columns, recompute
from tests.curation.scored import PARAMS, reviews, row, stored

NOBODY = reviews()


def _verdicts(*rows, people=NOBODY, checks=None):
    return recompute(stored(*rows), people, PARAMS, 1, checks or all_checks())


CHECKS_IN_ORDER = ["size", "specimen", "corruption", "medium", "detail", "zero_shot", "duplicates", "series"]


def test_checks_judge_from_cheap_to_expensive_and_those_that_choose_among_copies_last():
    assert list(CHECKS) == CHECKS_IN_ORDER


def test_each_check_sees_what_the_earlier_ones_left_and_found():
    seen = []

    class DropFirst(Check):
        columns = {"group": "str"}

        def check(self, scores, remaining, curate):
            seen.append(remaining.tolist())
            why = Rejection("x", "bad", "It is bad.", 3.0)
            return CheckFindings({0: why}, columns={"group": np.array(["g", "h"], dtype=object)})

    class KeepAll(Check):
        def check(self, scores, remaining, curate):
            seen.append((remaining.tolist(), scores["group"].tolist()))
            return CheckFindings({}, {0: "Fine.", 1: "Fine."}, {1: "Who knows."}, kept_scores={1: 0.5})

    checks = {"one": DropFirst(), "two": KeepAll(), "three": KeepAll()}
    found = _verdicts(row("a"), row("b"), checks=checks)
    assert seen[:2] == [[True, True], ([False, True], ["g", "h"])]
    dropped, kept = found.to_dict("records")
    assert (dropped["code"], dropped["sentence"], dropped["score"], dropped["group"]) == ("bad", "It is bad.", 3.0, "g")
    assert (kept["verdict"], kept["code"], kept["score"]) == ("keep", "kept", 0.5)
    assert (kept["sentence"], kept["uncertain"]) == ("Fine. Fine.", "Who knows. Who knows.")
    assert list(found.columns) == list(columns(checks)) and "group" in found


def test_every_kept_picture_has_a_sentence_a_split_and_a_name():
    found = _verdicts(*(row(str(n)) for n in range(10)))
    assert found["sentence"].eq("No check found anything against it.").all()
    assert found["split"].value_counts().to_dict() == {"train": 8, "holdout": 2}
    assert found["file_name"].tolist() == [
        f"{split}/{row(str(n))['sha256'][:16]}.png" for n, split in enumerate(found["split"])
    ]


def test_what_cannot_be_decoded_stays_out_whatever_people_say():
    broken = row("x", refused_code="truncated", refused_sentence="Cut.", refused_score=np.nan)
    found = _verdicts(broken, row("a"), people=reviews(("x", "keep", "", "Ada")))
    assert found.loc[0, ["verdict", "code", "sentence", "split"]].tolist() == ["drop", "truncated", "Cut.", ""]
    assert found.loc[0, "decided_by"] == "score" and found.loc[1, "verdict"] == "keep"


def test_people_outrank_every_score():
    rows = [row("small", width_px=20), row("bones", shows="specimen"), row("good"), row("copy")]
    people = reviews(("small", "keep", "rare", "Ada"), ("bones", "keep", "", ""), ("good", "drop", "a bird.", "Bob"))
    found = _verdicts(*rows, people=people)
    assert found["verdict"].tolist() == ["keep", "keep", "drop", "keep"]
    assert found["sentence"].tolist()[:3] == ["Ada kept it: rare.", "A person kept it.", "Bob dropped it: a bird."]
    assert found["code"].tolist() == ["kept", "kept", "reviewed", "kept"]
    assert found["decided_by"].tolist() == ["review", "review", "review", "score"]
    assert found["label"].tolist() == ["keep", "keep", "drop", ""]


def test_a_copy_that_people_want_is_kept_instead_of_the_better_one():
    large, small = row("large", width_px=400), row("small", pixel_sha256=row("large")["pixel_sha256"])
    assert _verdicts(large, small)["code"].tolist() == ["kept", "duplicate"]
    people = reviews(("small", "keep", "", "Ada"))
    assert _verdicts(large, small, people=people)["code"].tolist() == ["duplicate", "kept"]
    both = reviews(("small", "keep", "", "Ada"), ("large", "keep", "", "Ada"))
    found = _verdicts(large, small, people=both)
    assert found["code"].tolist() == ["kept", "kept"] and found["group"].nunique() == 1


def test_a_picture_that_was_reviewed_needs_no_review():
    soft = row("soft", sharpness=3.0)
    assert _verdicts(soft)["uncertain"].tolist() != [""]
    assert _verdicts(soft, people=reviews(("soft", "keep", "", "Ada")))["uncertain"].tolist() == [""]


def test_a_doubt_is_settled_when_another_check_drops_the_picture():
    soft, soft_bones = row("a", sharpness=3.0), row("b", sharpness=3.0, few_shot=0.1)
    assert _verdicts(soft, soft_bones)["uncertain"].ne("").tolist() == [True, False]
    unsure = row("c", few_shot=0.4)  # the check that drops it is the one that doubts
    assert _verdicts(unsure)["uncertain"].ne("").tolist() == [True]


@pytest.mark.parametrize("people", [NOBODY, reviews(("b", "keep", "", ""))])
def test_who_decided_is_said(people):
    rows = [row("a", few_shot=0.9), row("b", few_shot=0.1), row("c", few_shot=0.9, width_px=9), row("d", few_shot=0.2)]
    found = _verdicts(*rows, people=people)["decided_by"].tolist()
    assert found == ["few-shot", "review" if len(people) else "few-shot", "score", "few-shot"]


def test_no_pictures_are_no_verdicts():
    assert len(recompute(stored(row("a")).iloc[:0], NOBODY, PARAMS, 1, all_checks())) == 0


def test_only_broken_pictures_are_only_dropped():
    broken = row("x", refused_code="truncated", refused_sentence="Cut.")
    assert _verdicts(broken)["verdict"].tolist() == ["drop"]
