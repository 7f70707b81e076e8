import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.curation import borders
from tests.pictures import scene


def _framed(inner: Image.Image, colour, left=0, top=0, right=0, bottom=0) -> Image.Image:
    page = Image.new("RGB", (inner.width + left + right, inner.height + top + bottom), colour)
    page.paste(inner, (left, top))
    return page


@pytest.mark.parametrize("colour", ["black", "white", (120, 60, 30)])
@pytest.mark.parametrize(
    "sides", [{"top": 30, "bottom": 30}, {"left": 40}, {"left": 9, "top": 20, "right": 31, "bottom": 4}]
)
def test_bars_of_one_colour_are_cropped(colour, sides):
    inner = scene(1)
    cropped = borders.crop(_framed(inner, colour, **sides))
    difference = np.subtract(cropped.size, inner.size)
    assert (abs(difference) <= 1).all()  # a line of the picture may be of the border's colour


def test_a_frame_in_a_frame_is_cropped_too():
    framed = _framed(_framed(scene(1), "white", 10, 10, 10, 10), "black", 30, 0, 30, 0)
    assert borders.crop(framed).size == scene(1).size


def test_what_jpeg_makes_of_a_border_is_still_one(tmp_path):
    _framed(scene(2, (320, 240)), "white", 40, 40, 40, 40).save(tmp_path / "x.jpg", quality=75)
    cropped = borders.crop(Image.open(tmp_path / "x.jpg").convert("RGB"))
    assert abs(cropped.width - 320) <= 4 and abs(cropped.height - 240) <= 4


def test_the_white_ground_around_a_drawing_belongs_to_it():
    drawing = Image.new("RGB", (400, 300), "white")
    pen = ImageDraw.Draw(drawing)
    pen.ellipse((120, 80, 280, 220), outline="black", width=3)
    pen.line((100, 150, 60, 120), fill="black", width=2)
    assert borders.crop(drawing) is drawing


def test_a_gradient_has_no_edge():
    rows = np.linspace(40, 220, 300).astype(np.uint8)
    gradient = Image.fromarray(np.repeat(rows[:, None], 400, axis=1)).convert("RGB")
    assert borders.crop(gradient) is gradient


@pytest.mark.parametrize("image", [scene(3), Image.new("RGB", (50, 40), "white"), Image.new("RGB", (1, 1))])
def test_a_picture_without_borders_is_returned_as_it_is(image):
    assert borders.crop(image) is image


def test_a_hairline_is_not_worth_cropping():
    framed = _framed(scene(1, (400, 300)), "black", 2, 2, 2, 2)
    assert borders.crop(framed) is framed
