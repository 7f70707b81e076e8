import pytest

from pipeline.curation.split import held_out

GROUPS = [f"group{number}" for number in range(60)]


@pytest.mark.parametrize(("count", "fraction", "expected"), [(60, 0.2, 12), (5, 0.2, 1), (2, 0.01, 1), (1, 0.5, 0),
                                                             (0, 0.5, 0), (10, 0.0, 0), (4, 1.0, 3)])  # fmt: skip
def test_the_share_is_exact_and_both_sides_get_something(count, fraction, expected):
    assert len(held_out(GROUPS[:count], 1, fraction)) == expected


def test_the_split_depends_on_the_seed_and_not_on_the_order():
    assert held_out(GROUPS, 1, 0.2) == held_out(reversed(GROUPS), 1, 0.2) != held_out(GROUPS, 2, 0.2)


def test_a_new_picture_moves_at_most_one_other():
    before = held_out(GROUPS, 1, 0.2)
    for number in range(50):
        after = held_out([*GROUPS, f"new{number}"], 1, 0.2)
        assert len((before ^ after) & set(GROUPS)) <= 1
