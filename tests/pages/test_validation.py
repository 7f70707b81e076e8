"""The page of a validation in a browser: what it shows, and that it asks nobody."""

from __future__ import annotations

import pytest

from pipeline.core.errors import GateError
from pipeline.core.paths import Paths
from pipeline.validate import validate
from tests import site_fixture
from tests import validation_fixture as world
from tests.browser import CHROMIUM, MISSING, browser

PARAMS = site_fixture.params()
KEY = "sinomacrops"


@pytest.fixture(scope="module")
def refused(tmp_path_factory) -> Paths:
    """Refused for a candidate, a leak and a file that is no picture."""
    paths = Paths(tmp_path_factory.mktemp("refused"), KEY)
    world.write(PARAMS, paths)
    world.spoil_manifest(paths, 6, licence="CC-BY-NC-4.0")
    world.spoil(paths, 7, series=("row", 0))
    (paths.curated / world.kept(paths)["file_name"][9]).write_bytes(b"<html>")
    with pytest.raises(GateError):
        validate(PARAMS, paths)
    return paths


def test_both_layers_have_their_section_and_failures_come_before_the_table(refused):
    page = (refused.validation / "index.html").read_text()
    places = [page.index(f'id="{name}"') for name in ("manifest", "manifest_licence", "curated", "decodable")]
    assert places == sorted(places)
    assert page.count("<table") == 2


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_opens_from_disk_with_its_pictures_and_asks_nobody(refused, dark):
    with browser() as page:
        page.view(390, 800, dark=dark)
        page.go((refused.validation / "index.html").as_uri())
        pictures = page.load_pictures()
        assert len(pictures) == 3 and all(picture["width"] > 0 for picture in pictures)
        assert page.run("document.documentElement.scrollWidth") <= 390
        assert page.run("[...document.querySelectorAll('.jump a')].every(a => document.querySelector(a.hash))")
        assert page.errors == []
        assert [address for address in page.requests if not address.startswith(("file:", "data:"))] == []
