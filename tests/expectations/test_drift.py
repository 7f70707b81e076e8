from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.expectations.drift import MIN_PICTURES, compared, stability_index, statistics


def _facts(values, margin=np.nan) -> pd.DataFrame:
    return pd.DataFrame({"side_px": values, "sharpness": values, "clip_margin": margin})


def _index(before, now) -> float:
    kept = json.loads(json.dumps(statistics(_facts(before))))  # as the file has it
    return compared(_facts(now), kept).set_index("quantity").loc["sharpness", "index"]


def _sample(n: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, n)


def test_by_hand():
    expected = 2 * (0.75 - 0.25) * np.log(3) - (1 / 40 + 1 / 40)
    assert stability_index([10, 30], [30, 10]) == pytest.approx(expected, abs=1e-4)


def test_the_same_pictures_have_not_drifted():
    assert _index(_sample(200), _sample(200)) == 0


def test_others_of_the_same_kind_have_not_either():
    found = [_index(_sample(60, seed), _sample(60, seed + 1000)) for seed in range(50)]
    assert np.mean(np.array(found) > 0.25) <= 0.1


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_shift_by_one_standard_deviation_is_much(shift):
    assert all(_index(_sample(100, seed), _sample(100, seed + 99, shift)) > 0.25 for seed in range(10))


def test_a_value_that_all_share_may_not_leave():
    sides = np.full(40, 512.0)
    assert _index(sides, sides) == 0
    assert _index(sides, sides - 1) > 1
    assert _index(sides, sides + 1) > 1
    assert _index(np.r_[sides[:30], np.linspace(96, 500, 10)], np.linspace(96, 512, 40)) > 1


def test_what_one_version_has_too_few_of_is_not_compared():
    assert compared(_facts(_sample(MIN_PICTURES - 1)), statistics(_facts(_sample(100)))).empty
    assert compared(_facts(_sample(100)), statistics(_facts(_sample(MIN_PICTURES - 1)))).empty
    assert compared(_facts(_sample(100)), {}).empty
    both = compared(_facts(_sample(100)), statistics(_facts(_sample(100))))
    assert both["quantity"].tolist() == ["shorter side", "sharpness"]  # margins are unknown
