import pytest

from pipeline.curation.size import SizeCheck
from tests.curation.scored import PARAMS, all_of, row, scores


def _check(remaining=None, **sides):
    frame = scores(*(row(name, width_px=w, height_px=h) for name, (w, h) in sides.items()))
    return SizeCheck().check(frame, all_of(frame) if remaining is None else remaining, PARAMS)


def test_the_shorter_side_decides():
    drops = _check(wide=(300, 90), tall=(96, 380)).drops
    assert list(drops) == [0]
    assert (drops[0].code, drops[0].score) == ("too_small", 90.0)
    assert drops[0].sentence == "300 x 90 px: its shorter side has less than 96 px."


@pytest.mark.parametrize("sides", [(1000, 200), (200, 1000)])
def test_a_strip_is_no_picture(sides):
    drops = _check(strip=sides, long=(800, 200)).drops
    assert list(drops) == [0]
    assert (drops[0].code, drops[0].score) == ("bad_aspect", 5.0)
    assert "5.0 times the shorter one, and at most 4 is allowed" in drops[0].sentence


def test_what_is_both_small_and_long_is_small():
    assert _check(line=(500, 10)).drops[0].code == "too_small"


def test_what_is_dropped_already_is_not_dropped_again():
    assert not _check(remaining=all_of(scores(row("a"))) & False, a=(4, 4)).drops
