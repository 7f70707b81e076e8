import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from pipeline.curation import sharpness
from pipeline.curation.detail import DetailCheck, DetailParams
from tests.curation.scored import PARAMS, all_of, picture, row, scores
from tests.pictures import scene

SOFT, EMPTY, ENLARGED = {"sharpness": 9.0}, {"entropy_bits": 0.4}, {"detail_px": 64}


def _check(*rows):
    frame = scores(*rows)
    return DetailCheck().check(frame, all_of(frame), PARAMS)


def _pencil_drawing() -> Image.Image:
    """A few thin grey lines on white paper."""
    image = Image.new("RGB", (512, 512), (246, 246, 244))
    draw = ImageDraw.Draw(image)
    draw.ellipse((120, 160, 400, 330), outline=(120, 120, 120), width=2)
    draw.line((60, 300, 460, 200), fill=(140, 140, 140), width=2)
    return image


def test_pencil_and_soft_painting_pass():
    soft = scene(1, (256, 256)).filter(ImageFilter.GaussianBlur(0.8))
    assert not _check(picture("pencil", _pencil_drawing()), picture("soft", soft)).drops


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("medium", ["painting", ""])
def test_an_enlarged_stamp_is_dropped(seed, medium):
    stamp = scene(seed, (48, 48)).resize((512, 512), Image.Resampling.BICUBIC)
    rejection = _check(picture("stamp", stamp, medium=medium)).drops[0]
    assert rejection.code == "blurred" and rejection.score < DetailParams.of(PARAMS).min_sharpness
    assert "px would hold all its detail; at least 15 is needed" in rejection.sentence


@pytest.mark.parametrize("medium", ["painting", "drawing", ""])
@pytest.mark.parametrize("one", [SOFT, EMPTY, ENLARGED])
def test_one_reason_alone_drops_no_painting(medium, one):
    findings = _check(row("a", medium=medium, **one))
    assert not findings.drops
    assert list(findings.doubts) == ([] if one is ENLARGED else [0])


@pytest.mark.parametrize(
    ("reasons", "code"), [(SOFT | ENLARGED, "blurred"), (SOFT | EMPTY, "low_information"), (EMPTY | ENLARGED, None)]
)
def test_two_reasons_drop_a_painting(reasons, code):
    drops = _check(row("a", medium="painting", **reasons)).drops
    assert [why.code for why in drops.values()] == ([code] if code else [])


@pytest.mark.parametrize(("reason", "code"), [(SOFT, "blurred"), (EMPTY, "low_information")])
def test_one_reason_is_enough_for_a_photograph(reason, code):
    findings = _check(row("a", medium="photograph", **reason))
    assert findings.drops[0].code == code and not findings.doubts


def test_a_soft_medium_has_a_lower_threshold_than_the_others():
    sharp = [row(f"photo {n}", medium="photograph", sharpness=1000.0) for n in range(12)]
    soft = [row(f"wash {n}", medium="painting", sharpness=100.0) for n in range(11)]
    one_more = row("one more", medium="painting", sharpness=12.0)
    assert list(_check(*soft, one_more).doubts) == [11]  # among its like alone: below 15
    assert not _check(*soft, one_more, *sharp).doubts  # paintings are a tenth as sharp as all: 1.5 would do
    assert not _check(*sharp[:3], one_more | {"medium": "photograph", "sharpness": 16.0}).drops  # never more than 15


def test_the_measure_is_the_variance_of_the_laplacian():
    grey = scene(4, (64, 64)).convert("L")
    levels = np.asarray(grey, dtype=float)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    expected = [(levels[y - 1 : y + 2, x - 1 : x + 2] * kernel).sum() for y in range(1, 63) for x in range(1, 63)]
    assert sharpness.laplacian_variance(grey) == pytest.approx(np.var(expected))
    assert sharpness.laplacian_variance(Image.new("L", (2, 300))) == 0.0


def test_detail_is_the_size_that_would_do():
    full = scene(1, (256, 256)).convert("L")
    assert sharpness.detail_px(full, 1000) == 1000
    sizes = [sharpness.detail_px(full.resize((side, side), 4).resize((256, 256), 3), 1000) for side in (48, 24)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] <= 96 and sizes[1] <= 48
    assert sharpness.detail_px(Image.new("L", (256, 256)), 256) == 16
