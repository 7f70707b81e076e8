import numpy as np
import pytest
from PIL import Image

from pipeline.curation import hashes
from pipeline.curation.measuring import measure
from pipeline.io.images import codecs
from tests.pictures import scene


def _measure(image: Image.Image, side_px: int = 512, crop: bool = True):
    return measure(image, crop=crop, side_px=side_px, shrink=codecs.shrink)


def test_a_picture_is_measured_whole_and_handed_back_reduced():
    reduced, measures = _measure(scene(1, (1600, 1200)), side_px=300)
    assert reduced.size == (400, 300)
    assert (measures["width_px"], measures["height_px"]) == (1600, 1200)


def test_size_and_pixels_are_those_without_borders():
    page = Image.new("RGB", (400, 400), "white")
    page.paste(scene(1, (80, 60)), (160, 170))
    reduced, measures = _measure(page)
    assert reduced.size == (80, 60) == (measures["width_px"], measures["height_px"])
    assert measures["pixel_sha256"] == _measure(scene(1, (80, 60)))[1]["pixel_sha256"]
    assert _measure(page, crop=False)[0].size == (400, 400)


@pytest.mark.parametrize("side_px", [64, 256, 512])
def test_measures_do_not_depend_on_what_is_kept(side_px):
    image = scene(1, (1600, 1200))
    measures, all_of_it = _measure(image, side_px)[1], _measure(image, 1200)[1]
    assert measures["sharpness"] == pytest.approx(all_of_it["sharpness"], rel=0.1)
    assert hashes.distance(int(measures["phash"], 16), int(all_of_it["phash"], 16)) <= 2


def test_one_size_makes_large_and_small_files_comparable():
    large = scene(1, (1024, 1024))
    small = large.resize((512, 512), Image.Resampling.LANCZOS)
    assert _measure(large, 1024)[1]["sharpness"] == pytest.approx(_measure(small)[1]["sharpness"], rel=0.2)


@pytest.mark.parametrize(
    ("colour", "hue_deg", "saturation", "lightness"),
    [
        ("red", 0, 1, 0.5),
        ("lime", 120, 1, 0.5),
        ("blue", 240, 1, 0.5),
        ("white", 0, 0, 1),
        ("gray", 0, 0, 0.5),
        ((255, 128, 0), 30, 1, 0.5),
        ((64, 0, 64), 300, 1, 0.125),
    ],
)
def test_colours_are_hsl(colour, hue_deg, saturation, lightness):
    measures = _measure(Image.new("RGB", (300, 200), colour))[1]
    assert measures["hue_deg"] == pytest.approx(hue_deg, abs=1)
    assert measures["saturation"] == pytest.approx(saturation, abs=0.01)
    assert measures["lightness"] == pytest.approx(lightness, abs=0.01)


def test_information_is_the_entropy_of_the_grey_values():
    assert _measure(Image.new("RGB", (300, 200)))[1]["entropy_bits"] == 0
    halves = np.zeros((200, 300, 3), np.uint8)
    halves[:, 150:] = 255
    assert _measure(Image.fromarray(halves), crop=False)[1]["entropy_bits"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (2, 2), (3000, 5)])
def test_the_smallest_pictures_have_measures_too(size):
    reduced, measures = _measure(Image.new("RGB", size))
    assert reduced.size[0] >= 1 and measures["width_px"] == size[0]


def test_hashes_are_sixteen_digits():
    found = hashes.of(scene(1).convert("L"))
    assert len(hashes.text(found.phash)) == len(hashes.text(3)) == 16
    assert hashes.distance(0b1011, 0b0001) == 2
