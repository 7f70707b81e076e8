import pytest

from pipeline.core.lineage import digest_file
from pipeline.io.images import image_cache
from pipeline.io.images.codecs import Picture
from tests.pictures import scene

KEY = "ab" + "0" * 62


def _look(image):
    return image.resize((64, 48)), {"width_px": image.width}


def test_what_is_kept_is_found_again(tmp_path):
    assert image_cache.kept(tmp_path, KEY) is None
    made = image_cache.keep(Picture(scene(1), "GIF", 3), KEY, tmp_path, _look)
    png = image_cache.file_of(tmp_path, KEY, "png")
    known = {"width_px": 256, "format": "GIF", "frames": 3, "png_sha256": digest_file(png)}
    assert made == known == image_cache.kept(tmp_path, KEY)
    assert image_cache.opened(tmp_path, KEY).size == (64, 48)
    assert image_cache.opened(tmp_path, KEY).tobytes() == scene(1).resize((64, 48)).tobytes()


@pytest.mark.parametrize("kind", ["png", "webp", "json"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(b"{}"),
    ],
)
def test_what_was_damaged_is_not_taken(tmp_path, kind, damage):
    image_cache.keep(Picture(scene(1), "PNG", 1), KEY, tmp_path, _look)
    damage(image_cache.file_of(tmp_path, KEY, kind))
    assert image_cache.kept(tmp_path, KEY) is None


def test_a_kept_file_is_placed_elsewhere_and_survives_what_happens_there(tmp_path):
    image_cache.keep(Picture(scene(1), "PNG", 1), KEY, tmp_path, _look)
    image_cache.place(tmp_path, KEY, "png", tmp_path / "out/x.png")
    assert (tmp_path / "out/x.png").read_bytes() == image_cache.read(tmp_path, KEY, "png")
    (tmp_path / "out/x.png").unlink()
    assert image_cache.kept(tmp_path, KEY) is not None


def test_where_a_file_cannot_be_linked_it_is_copied(tmp_path, monkeypatch):
    def refuse(*names):
        raise OSError("another file system")

    image_cache.keep(Picture(scene(1), "PNG", 1), KEY, tmp_path, _look)
    monkeypatch.setattr(image_cache.os, "link", refuse)
    image_cache.place(tmp_path, KEY, "webp", tmp_path / "out/x.webp")
    assert (tmp_path / "out/x.webp").read_bytes() == image_cache.read(tmp_path, KEY, "webp")
