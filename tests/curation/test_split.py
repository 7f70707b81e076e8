import numpy as np
import pandas as pd
import pytest

from pipeline.curation.split import held_out, units

ALONE = np.array([f"unit{number}" for number in range(60)])


def _units(*pictures: tuple[str, str]) -> list[str]:
    """(series, author) each."""
    series, authors = (pd.Series(column, dtype="str") for column in zip(*pictures))
    return units(series, authors).tolist()


@pytest.mark.parametrize(
    ("count", "fraction", "expected"),
    [(60, 0.2, 12), (5, 0.2, 1), (2, 0.01, 1), (1, 0.5, 0), (0, 0.5, 0), (10, 0.0, 0), (4, 1.0, 3)],
)
def test_the_share_is_exact_and_both_sides_get_something(count, fraction, expected):
    assert held_out(ALONE[:count], 1, fraction).sum() == expected


def test_the_split_depends_on_the_seed_and_not_on_the_order():
    chosen = held_out(ALONE, 1, 0.2)
    assert set(ALONE[chosen]) == set(ALONE[::-1][held_out(ALONE[::-1], 1, 0.2)])
    assert not np.array_equal(chosen, held_out(ALONE, 2, 0.2))


def test_a_new_picture_moves_at_most_one_other():
    before = held_out(ALONE, 1, 0.2)
    for number in range(50):
        after = held_out(np.append(ALONE, f"new{number}"), 1, 0.2)
        assert (before ^ after[:-1]).sum() <= 1


def test_units_are_never_split_and_the_share_is_near():
    sizes = [1, 2, 3, 5, 8, 4, 6, 7, 3, 2]
    of = np.repeat([f"unit{n}" for n in range(len(sizes))], sizes)
    for seed in range(20):
        chosen = held_out(of, seed, 0.25)
        assert all(chosen[of == unit].all() or not chosen[of == unit].any() for unit in set(of))
        assert 0.1 <= chosen.mean() <= 0.4


def test_a_unit_larger_than_the_share_is_passed_over_while_others_fit():
    of = np.repeat(["large", "a", "b", "c", "d"], [12, 2, 2, 2, 2])
    assert not any(held_out(of, seed, 0.1)[of == "large"].any() for seed in range(20))


def test_pictures_of_one_series_and_of_one_author_stay_together():
    found = _units(("s1", "Ada"), ("s1", "Bob"), ("s2", "bob "), *((f"t{n}", f"author {n}") for n in range(6)))
    assert found[0] == found[1] == found[2]
    assert len(set(found)) == 7


def test_whoever_made_too_many_does_not_bind_them():
    many = [(f"s{n}", "Ada") for n in range(6)]
    few = [(f"t{n}", "Bob") for n in range(3)]
    found = _units(*many, ("s0", "Ada"), *few)
    assert len(set(found[:6])) == 6 and found[6] == found[0]  # by series
    assert len(set(found[7:])) == 1  # Bob's stay together


@pytest.mark.parametrize("nobody", ["", "Unknown", "anonymous"])
def test_nobody_binds_nothing(nobody):
    assert len(set(_units(*((f"s{n}", nobody) for n in range(9))))) == 9


def test_another_picture_of_an_author_does_not_rename_the_others():
    before = [(f"s{n}", f"author {n % 4}") for n in range(12)]
    after = _units(*before, ("a first name", "author 1"))
    assert after[:12] == _units(*before) and after[12] == after[1]
