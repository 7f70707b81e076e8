"""The promotion gate: which version beats the champion, and in which words."""

from __future__ import annotations

import pytest

from pipeline.core.params import Register
from pipeline.core.releases import ModelVersion
from pipeline.registry import promotion_gate

KEY = "sinomacrops"


def measured(accuracy: float, **tags: str) -> dict[str, str]:
    return {
        "primary": "species_accuracy",
        "metric.species_accuracy": str(accuracy),
        "metric.clip_i": "0.8",
        "suite_digest": "s",
        "clip_digest": "c",
        "compared_with": "x",
        "dataset_digest": "d",
        **tags,
    }


def version(number: int, accuracy: float, **tags: str) -> ModelVersion:
    return ModelVersion(KEY, number, measured(accuracy, **tags), "")


def differ(what: str) -> str:
    return (
        f"version 2 and the champion (version 1) were {what}, so their numbers cannot be compared: "
        "look at both galleries"
    )


OLD = version(1, 0.88)
COMPARISONS = [
    (version(1, 0.2), None, 0, True, "there was no champion"),
    (version(2, 0.93), OLD, 0, True, "species accuracy 93.0 % beats 88.0 % of version 1"),
    (version(2, 0.88), OLD, 0, False, "species accuracy 88.0 % does not beat 88.0 % of version 1"),
    (version(2, 0.9), OLD, 0.05, False, "species accuracy 90.0 % does not beat 88.0 % of version 1 by more than 5.0 %"),
    (
        version(2, 0.93, dataset_digest="e"),
        OLD,
        0,
        True,
        "species accuracy 93.0 % beats 88.0 % of version 1 "
        "(the data set is another one, and so are its held-out pictures)",
    ),
    (
        version(2, 0.93, suite_digest="t"),
        OLD,
        0,
        False,
        differ("sampled with different prompts, seeds or sampler settings"),
    ),
    (version(2, 0.93, primary="clip_i"), OLD, 0, False, differ("chosen by different metrics")),
    (version(2, 0.93, clip_digest="z"), OLD, 0, False, differ("measured with different CLIP models")),
    (version(2, 0.93, compared_with="y"), OLD, 0, False, differ("told apart from different other species")),
    (
        version(2, 0, primary="clip_i"),
        version(1, 0, primary="clip_i"),
        0,
        False,
        "CLIP-I 0.800 does not beat 0.800 of version 1",
    ),
    (
        version(2, 0, primary="nearest_train", **{"metric.nearest_train": "0.7"}),
        version(1, 0, primary="nearest_train", **{"metric.nearest_train": "0.9"}),
        0,
        True,  # lower is better
        "nearest training picture 0.700 beats 0.900 of version 1",
    ),
]


@pytest.mark.parametrize(("new", "champion", "min_gain", "beats", "sentence"), COMPARISONS)
def test_the_comparison(new, champion, min_gain, beats, sentence):
    assert promotion_gate.compare(new, champion, Register(min_gain=min_gain)) == promotion_gate.Verdict(beats, sentence)


FLOORS = [
    ({"min_primary": 0.8}, True, "there was no champion"),
    (
        {"min_primary": 0.9},
        False,
        "species accuracy 85.0 % is below register.min_primary (90.0 %), so it stays challenger",
    ),
    ({"min_held_out": 8}, True, "there was no champion"),
    (
        {"min_held_out": 9},
        False,
        "8 held-out pictures are fewer than register.min_held_out (9), so it stays challenger",
    ),
    (
        {"min_primary": 0.9, "min_held_out": 9},
        False,
        "species accuracy 85.0 % is below register.min_primary (90.0 %); 8 held-out pictures are fewer than "
        "register.min_held_out (9), so it stays challenger",
    ),
]


@pytest.mark.parametrize(("floor", "beats", "sentence"), FLOORS)
def test_a_first_champion_has_to_reach_the_floor(floor, beats, sentence):
    new = version(1, 0.85, n_held_out="8")
    assert promotion_gate.compare(new, None, Register(**floor)) == promotion_gate.Verdict(beats, sentence)


def test_the_floor_is_for_the_first_champion_only():
    limits = Register(min_primary=0.99, min_held_out=100)
    assert promotion_gate.compare(version(2, 0.93), OLD, limits).beats


def test_a_metric_that_should_be_low_has_a_floor_from_above():
    new = version(1, 0, primary="nearest_train", **{"metric.nearest_train": "0.9"})
    verdict = promotion_gate.compare(new, None, Register(min_primary=0.8))
    assert not verdict.beats and "is above register.min_primary (0.800)" in verdict.sentence


def test_a_version_without_a_count_of_held_out_pictures_does_not_reach_one():
    assert not promotion_gate.compare(version(1, 0.9), None, Register(min_held_out=1)).beats
