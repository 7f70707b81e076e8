from pipeline.core.records import Rejection
from pipeline.curation import CHECKS
from pipeline.curation.looks import Findings
from pipeline.curation.verdicts import judge, undecoded
from tests.curation.looks import look, task
from tests.pictures import scene


def test_checks_run_from_cheap_to_dear_and_duplicates_last():
    assert list(CHECKS) == ["size", "sharpness", "classes", "duplicates"]


def test_each_check_sees_what_the_earlier_ones_left():
    looks, seen = [look("a", scene(1)), look("b", scene(2))], []

    def drop_first(looks, alive, task):
        seen.append(alive)
        return Findings({looks[0].sha256: Rejection("x", "bad", "It is bad.", 3.0)}, {looks[0].sha256: {"group": "g"}})

    def praise_all(looks, alive, task):
        seen.append(alive)
        return Findings({}, {looks[1].sha256: {"clip_margin": 0.5}}, {look.sha256: "Fine." for look in looks})

    verdicts = judge(looks, {"one": drop_first, "two": praise_all}, task())
    assert seen == [{looks[0].sha256, looks[1].sha256}, {looks[1].sha256}]
    dropped, kept = verdicts[looks[0].sha256], verdicts[looks[1].sha256]
    assert (dropped.code, dropped.sentence, dropped.score, dropped.notes) == ("bad", "It is bad.", 3.0, {"group": "g"})
    assert (kept.code, kept.sentence, kept.score) == ("kept", "Fine.", 0.5)


def test_every_kept_picture_has_a_sentence():
    looks = [look("a", scene(1))]
    assert judge(looks, {}, task())[looks[0].sha256].sentence == "No check found anything against it."
    assert undecoded(Rejection("decode", "truncated", "Cut.")).code == "truncated"
