import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from pipeline.curation import sharpness
from tests.curation.looks import PARAMS, all_of, look, task
from tests.pictures import scene


def _pencil_drawing() -> Image.Image:
    """A few thin grey lines on white paper."""
    image = Image.new("RGB", (512, 512), (246, 246, 244))
    draw = ImageDraw.Draw(image)
    draw.ellipse((120, 160, 400, 330), outline=(120, 120, 120), width=2)
    draw.line((60, 300, 460, 200), fill=(140, 140, 140), width=2)
    return image


def test_pencil_and_soft_painting_pass():
    soft = scene(1, (256, 256)).filter(ImageFilter.GaussianBlur(0.8))
    looks = [look("pencil", _pencil_drawing()), look("soft", soft)]
    assert not sharpness.check(looks, all_of(looks), task()).drops


@pytest.mark.parametrize("seed", range(3))
def test_a_stamp_blown_up_is_dropped(seed):
    stamp = scene(seed, (48, 48)).resize((512, 512), Image.Resampling.BICUBIC)
    looks = [look("stamp", stamp)]
    rejection = sharpness.check(looks, all_of(looks), task()).drops[looks[0].sha256]
    assert rejection.code == "blurred" and rejection.score < PARAMS.min_sharpness
    assert "at least 15 is asked" in rejection.sentence


def test_one_size_makes_large_and_small_files_comparable():
    small, large = scene(1, (256, 256)), scene(1, (256, 256)).resize((1024, 1024), Image.Resampling.NEAREST)
    assert sharpness.measure(large) == pytest.approx(sharpness.measure(small))


def test_the_measure_is_the_variance_of_the_laplacian():
    picture = scene(4, (64, 64)).convert("L")
    grey = np.asarray(picture, dtype=float)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    expected = [(grey[y - 1 : y + 2, x - 1 : x + 2] * kernel).sum() for y in range(1, 63) for x in range(1, 63)]
    assert sharpness.measure(picture) == pytest.approx(np.var(expected))
    assert sharpness.measure(Image.new("RGB", (2, 300))) == 0.0
