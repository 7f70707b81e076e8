from __future__ import annotations

import base64
import io
import os

import pytest
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.records import Rejection
from pipeline.io.files import site_files
from tests.site_fixture import picture, png


def test_a_small_picture_is_copied_as_it_is_and_is_its_own_thumbnail(tmp_path):
    (tmp_path / "x.png").write_bytes(png(picture(1), "a bird\nSteps: 20"))
    added = site_files.add_picture(tmp_path / "x.png", tmp_path / "page", "samples/x.png")
    assert added == site_files.SiteImage("samples/x.png", "samples/x.png", 64, 64)
    copied = tmp_path / "page/samples/x.png"
    assert copied.read_bytes() == (tmp_path / "x.png").read_bytes()
    assert not os.path.samefile(copied, tmp_path / "x.png")
    assert site_files.parameters_of(copied) == "a bird\nSteps: 20"
    assert site_files.parameters_of(_saved(tmp_path / "plain.png", picture(2))) == ""


def test_a_large_picture_gets_a_thumbnail(tmp_path):
    source = _saved(tmp_path / "x.png", picture(1, 700).resize((700, 500)))
    added = site_files.add_picture(source, tmp_path, "out/x.png")
    assert (added.thumb, added.width_px, added.height_px) == ("out/x.png.thumb.webp", 700, 500)
    with Image.open(tmp_path / added.thumb) as thumb:
        assert max(thumb.size) == site_files.THUMB_PX


def test_a_turned_photograph_counts_as_it_is_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(1, 60).resize((60, 30)).save(tmp_path / "x.jpg", exif=exif)
    added = site_files.add_picture(tmp_path / "x.jpg", tmp_path, "out.jpg")
    assert (added.width_px, added.height_px) == (30, 60)


def test_what_no_browser_shows_becomes_a_png(tmp_path):
    source = _saved(tmp_path / "x.tif", picture(1))
    assert site_files.add_picture(source, tmp_path, "out.tif").src == "out.tif.png"


def test_what_is_no_picture_is_a_rejection_from_outside_and_an_error_from_a_stage(tmp_path):
    (tmp_path / "x.png").write_bytes(b"<html>")
    assert isinstance(site_files.add_picture(tmp_path / "x.png", tmp_path, "out.png"), Rejection)
    with pytest.raises(InputError, match="cannot be shown: .* Run the stage that writes it again"):
        site_files.add_own_picture(tmp_path / "x.png", tmp_path, "out.png")
    with pytest.raises(InputError, match="cannot be read"):
        site_files.add_own_picture(tmp_path / "none.png", tmp_path, "out.png")


def test_a_data_uri_holds_a_small_picture_or_nothing(tmp_path):
    uri = site_files.thumbnail_uri(_saved(tmp_path / "x.png", picture(1, 300)))
    with Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,")))) as small:
        assert max(small.size) == site_files.OFFENCE_PX
    (tmp_path / "y.png").write_bytes(b"")
    assert site_files.thumbnail_uri(tmp_path / "y.png") == ""
    assert site_files.thumbnail_uri(tmp_path / "none.png") == ""


def _saved(path, image):
    image.save(path)
    return path
