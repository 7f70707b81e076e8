"""Destroyed pictures are dropped whatever their source says, and good ones of every kind are kept."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from pipeline.core.records import Rejection
from pipeline.curation import measuring
from pipeline.curation.corruption import CorruptionCheck
from pipeline.curation.detail import DetailCheck
from pipeline.io.images import codecs
from pipeline.sources.world import NAMES, items
from tests.curation.scored import PARAMS, all_of, picture, row, scores
from tests.io.images.destroyed import damaged_files, garbage_pictures, turned_bits
from tests.pictures import encoded, scene

SHARED = Path(__file__).parents[3] / "shared/data"
needs_photographs = pytest.mark.skipif(not SHARED.is_dir(), reason="the real photographs (shared/data) are not here")


def code(content: bytes) -> str:
    """What becomes of a file from a trusted source: its decoder's code, that of the first check, or kept."""
    decoded = codecs.decode(content, 50_000_000)
    if isinstance(decoded, Rejection):
        return decoded.code
    frame = scores(picture("it", decoded, medium="", trusted=True))
    for check in (CorruptionCheck(), DetailCheck()):
        for rejection in check.check(frame, all_of(frame), PARAMS).drops.values():
            return rejection.code
    return "kept"


def photographs(step: int) -> list[Image.Image]:
    files = [*sorted((SHARED / "dreambooth").rglob("*.jpg")), *sorted((SHARED / "api/openverse/thumbs").glob("*.jpg"))]
    found = [Image.open(path).convert("RGB") for path in files[::step]]
    for image in found:
        image.thumbnail((512, 512))
    return found


def as_other_kinds(image: Image.Image) -> dict[str, Image.Image]:
    """A photograph as people collect others: at night, low-key, as a fossil on a ground, as a drawing, a silhouette."""
    levels = np.asarray(image).astype(float)
    height, width, _ = levels.shape
    y, x = np.mgrid[:height, :width]
    object_ = (((y / height - 0.5) / 0.3) ** 2 + ((x / width - 0.5) / 0.3) ** 2 < 1)[..., None]
    small = Image.new("RGB", image.size, "white")
    small.paste(image.resize((width // 3, height // 3)), (width // 3, height // 3))
    bright = levels.mean(axis=2, keepdims=True)
    made = {
        "low-key": 255 * (levels / 255) ** 2.5,
        "night": np.where(object_, levels * 0.5, levels * 0.03),
        "on white": np.where(object_, levels, 255),
        "on black": np.where(object_, levels, 0),
        "silhouette": np.where(bright < bright.mean(), 0, 255) + levels * 0,
    }
    as_images = {name: Image.fromarray(pixels.astype(np.uint8)) for name, pixels in made.items()}
    return as_images | {"small on white": small}


def thin_drawing() -> Image.Image:
    image = Image.new("L", (512, 512), 250)
    draw = ImageDraw.Draw(image)
    draw.ellipse((120, 200, 330, 310), outline=60, width=2)
    draw.line([(320, 240), (400, 120), (430, 130), (400, 140)], fill=60, width=2)
    for x in (170, 220, 270):
        draw.line((x, 300, x - 10, 400), fill=60, width=2)
    return image.filter(ImageFilter.GaussianBlur(0.5)).convert("RGB")


@pytest.mark.parametrize("seed", range(3))
def test_every_destroyed_picture_is_dropped(seed):
    image = scene(seed, (400, 320)).filter(ImageFilter.GaussianBlur(1))
    kept = [name for name, content in damaged_files(image, seed) if code(content) == "kept"]
    kept += [name for name, garbage in garbage_pictures(image, seed) if code(encoded(garbage)) == "kept"]
    assert not kept


def test_of_jpegs_with_forty_wrong_bits_hardly_one_is_kept():
    image = scene(4, (400, 320)).filter(ImageFilter.GaussianBlur(1))
    codes = Counter(code(turned_bits(image, seed, 40)) for seed in range(40))
    assert codes["corrupt_data"] > 20 and codes["kept"] <= 2


def test_a_plain_picture_and_noise_have_their_own_words():
    frame = scores(row("black", entropy_bits=0.18), row("noise", noise_share=0.5), row("good"))
    drops = CorruptionCheck().check(frame, all_of(frame), PARAMS).drops
    assert drops[0].sentence == "It is one plain colour: 0.18 bits of information, and at least 0.2 are needed."
    assert drops[1].sentence.startswith("50% of it is noise, as where a damaged file was decoded, and at most 20%")
    assert drops.keys() == {0, 1}


def test_drawings_are_kept():
    embedded = [item.content for taxon in NAMES for item in items.items(taxon, seed=7, good=16, clutter=0)]
    assert {code(content) for content in [encoded(thin_drawing()), *embedded]} == {"kept"}


@needs_photographs
def test_no_real_photograph_is_dropped_and_none_as_another_kind_of_picture():
    found = Counter()
    for number, image in enumerate(photographs(step=6)):
        found[f"photograph {code(encoded(image, 'JPEG', quality=90))}"] += 1
        if number % 4 == 0:
            found.update(f"{name} {code(encoded(made))}" for name, made in as_other_kinds(image).items())
    assert {name for name in found if not name.endswith(" kept")} == set(), found
    assert found["photograph kept"] > 30


@needs_photographs
def test_of_real_photographs_every_destroyed_one_is_dropped():
    found = Counter()
    for seed, image in enumerate(photographs(step=60)):
        found.update((name, code(content)) for name, content in damaged_files(image, seed))
        found.update((name, code(encoded(garbage))) for name, garbage in garbage_pictures(image, seed))
    assert not [(name, n) for (name, verdict), n in found.items() if verdict == "kept"]
    assert sum(found.values()) > 80


@needs_photographs
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("malformed/28c74d9284d9836017fd519f6932efd8.jpg", "corrupt_data"),  # half of it grey
        ("malformed/5482a54657765056f1a94116a8dbffe7.jpg", "corrupt_data"),  # a decoder's overflow
        ("metadata/hopper_bad_exif.jpg", "corrupt_data"),
        ("colour/12in16bit.tif", "noise"),
        ("animated/colors-animated-8bpc.avif", "plain"),
        ("progressive/kitten-progressive.jpg", "kept"),
        ("progressive/mjpeg.jpg", "kept"),
        ("reencode/harvesters.lossy.webp", "kept"),
        ("reencode/bricks-dither.png", "kept"),
        ("colour/jpg-cmyk-2.jpg", "kept"),
    ],
)
def test_recorded_files(name, expected):
    assert code((SHARED / "hostile" / name).read_bytes()) == expected


def test_the_measures_are_those_of_the_whole_pipeline():
    _, measures = measuring.measure(scene(1), crop=True, side_px=512, shrink=codecs.shrink)
    assert measures["noise_share"] == 0.0
