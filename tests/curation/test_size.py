from PIL import Image

from pipeline.curation import size
from tests.curation.looks import all_of, look, task


def test_the_shorter_side_decides():
    looks = [look("wide", Image.new("RGB", (400, 90))), look("tall", Image.new("RGB", (96, 400)))]
    drops = size.check(looks, all_of(looks), task(min_side_px=96)).drops
    assert list(drops) == [looks[0].sha256]
    rejection = drops[looks[0].sha256]
    assert (rejection.code, rejection.score) == ("too_small", 90.0)
    assert rejection.sentence == "400 x 90 px: its shorter side has less than 96 px."


def test_what_is_dropped_already_is_not_dropped_again():
    looks = [look("tiny", Image.new("RGB", (4, 4)))]
    assert not size.check(looks, frozenset(), task()).drops
