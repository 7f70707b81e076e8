import pytest

from pipeline.core.lineage import digest_file
from pipeline.io.images import image_cache
from pipeline.io.images.codecs import DecodedImage
from tests.pictures import scene

KEY = "ab" + "0" * 62


def _measure(image):
    return image.resize((64, 48)), {"width_px": image.width}


def test_a_stored_picture_is_found_again(tmp_path):
    assert image_cache.measures_of(tmp_path, KEY) is None
    made = image_cache.store(DecodedImage(scene(1), "GIF", 3), KEY, tmp_path, _measure)
    png = image_cache.path_of(tmp_path, KEY, "png")
    known = {"width_px": 256, "format": "GIF", "frames": 3, "png_sha256": digest_file(png)}
    assert made == known == image_cache.measures_of(tmp_path, KEY)
    assert image_cache.open_image(tmp_path, KEY).size == (64, 48)
    assert image_cache.open_image(tmp_path, KEY).tobytes() == scene(1).resize((64, 48)).tobytes()


@pytest.mark.parametrize("kind", ["png", "webp", "json"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(b"{}"),
    ],
)
def test_a_damaged_file_is_not_used(tmp_path, kind, damage):
    image_cache.store(DecodedImage(scene(1), "PNG", 1), KEY, tmp_path, _measure)
    damage(image_cache.path_of(tmp_path, KEY, kind))
    assert image_cache.measures_of(tmp_path, KEY) is None


def test_a_stored_file_is_linked_elsewhere_and_survives_what_happens_there(tmp_path):
    image_cache.store(DecodedImage(scene(1), "PNG", 1), KEY, tmp_path, _measure)
    image_cache.link(tmp_path, KEY, "png", tmp_path / "out/x.png")
    assert (tmp_path / "out/x.png").read_bytes() == image_cache.read(tmp_path, KEY, "png")
    (tmp_path / "out/x.png").unlink()
    assert image_cache.measures_of(tmp_path, KEY) is not None


def test_where_a_file_cannot_be_linked_it_is_copied(tmp_path, monkeypatch):
    def refuse(*names):
        raise OSError("another file system")

    image_cache.store(DecodedImage(scene(1), "PNG", 1), KEY, tmp_path, _measure)
    monkeypatch.setattr(image_cache.os, "link", refuse)
    image_cache.link(tmp_path, KEY, "webp", tmp_path / "out/x.webp")
    assert (tmp_path / "out/x.webp").read_bytes() == image_cache.read(tmp_path, KEY, "webp")
