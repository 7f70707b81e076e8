"""The chosen step and the sentence that says why."""

from __future__ import annotations

from pipeline.core.records import Score
from pipeline.metrics import all_specs
from pipeline.metrics.checkpoint_choice import Choice
from pipeline.metrics.checkpoint_choice import choose as choose_step


def _scores(values: dict[int, float], metric: str = "species_accuracy") -> dict:
    return {
        step: {metric: Score(metric, value, 24, interval=(value - 0.05, value + 0.05))}
        for step, value in values.items()
    }


def choose(scores: dict, primary: str, missing: dict | None = None) -> Choice:
    return choose_step(scores, primary, 0.02, all_specs(), missing or {})


def test_the_best_step_wins_and_the_sentence_has_the_numbers():
    choice = choose(_scores({0: 0.31, 50: 0.5, 250: 0.92, 500: 0.8}), "species_accuracy")
    assert choice.step == 250
    assert choice.better_than_base
    assert choice.reason == (
        "step 250: species accuracy 92 % [87, 97] against 31 % for the base; step 50 reaches 50 %; "
        "step 500 is no better (80 %)"
    )


def test_a_tie_goes_to_the_fewest_steps_and_says_so():
    choice = choose(_scores({0: 0.31, 50: 0.5, 250: 0.92, 500: 0.93}), "species_accuracy")
    assert choice.step == 250
    assert "step 500 is better by no more than the tie margin of 0.02 (93 %)" in choice.reason


def test_outside_the_margin_more_steps_win():
    assert choose(_scores({0: 0.31, 250: 0.92, 500: 0.95}), "species_accuracy").step == 500


def test_a_training_that_helped_nothing_is_called_so():
    choice = choose(_scores({0: 0.9, 50: 0.5, 250: 0.6}), "species_accuracy")
    assert choice.step == 250
    assert not choice.better_than_base
    assert "no step is better than the base model" in choice.reason


def test_without_its_primary_metric_the_first_measured_one_decides_and_the_sentence_says_why():
    missing = {"species_accuracy": "no other species has held-out pictures to compare with"}
    choice = choose(_scores({0: 0.5, 50: 0.6, 250: 0.7}, "clip_i"), "species_accuracy", missing=missing)
    assert (choice.step, choice.primary) == (250, "clip_i")
    assert choice.reason.endswith("chosen by CLIP-I, as species accuracy is unknown: " + missing["species_accuracy"])
    assert "CLIP-I 0.700 [0.650, 0.750] against 0.500 for the base" in choice.reason


def test_of_a_metric_whose_lower_values_are_better_the_lowest_wins():
    choice = choose(_scores({0: 0.9, 50: 0.7, 250: 0.5, 500: 0.6}, "nearest_train"), "nearest_train")
    assert (choice.step, choice.better_than_base) == (250, True)
    assert "step 500 is no better (0.600)" in choice.reason
    worse = choose(_scores({0: 0.2, 50: 0.7, 250: 0.5}, "nearest_train"), "nearest_train")
    assert (worse.step, worse.better_than_base) == (250, False)
