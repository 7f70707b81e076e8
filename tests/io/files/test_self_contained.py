"""A page with its pictures inside: what MLflow shows in its frame, where nothing lies beside a page."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pipeline.core.paths import Paths
from pipeline.gallery import gallery
from pipeline.io.files import site_files
from tests import site_fixture
from tests.browser import CHROMIUM, MISSING, browser

ADDRESS = "http://127.0.0.1:8080/sinomacrops/index.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The gallery's page of a species, alone in a folder."""
    root = tmp_path_factory.mktemp("project")
    params = site_fixture.params()
    paths = site_fixture.complete(params, root, "sinomacrops")
    gallery(params, Paths(root, ""))
    alone = tmp_path_factory.mktemp("alone") / "index.html"
    alone.write_text(site_files.self_contained(paths.site / "sinomacrops/index.html", ADDRESS), encoding="utf-8")
    return alone


def test_links_lead_to_where_the_gallery_is_served_and_none_to_a_file_beside_it(page):
    text = page.read_text(encoding="utf-8")
    assert 'href="http://127.0.0.1:8080/sinomacrops/curation.html"' in text
    assert 'href="http://127.0.0.1:8080/index.html"' in text
    assert "<object" not in text and 'href="#samples"' in text


def test_only_pictures_below_the_folder_go_in(tmp_path):
    (tmp_path / "secret.png").write_bytes(site_fixture.png(site_fixture.picture(1)))
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text('<img src="../secret.png" alt=""><img src="gone.png" alt="">')
    text = site_files.self_contained(folder / "index.html", ADDRESS)
    assert "data:" not in text and '<img src="../secret.png"' in text


@pytest.mark.skipif(not CHROMIUM, reason=MISSING)
def test_every_picture_is_seen_in_a_frame_without_an_origin_and_the_viewer_opens(page):
    """MLflow shows an artifact as a blob in `<iframe sandbox="allow-scripts">`."""
    frame = page.with_name("frame.html")
    frame.write_text('<!doctype html><iframe sandbox="allow-scripts" width="1200" height="900"></iframe>')
    with browser() as tab:
        tab.view(1280, 1000)
        tab.go(page.as_uri())
        pictures = [one for one in tab.load_pictures() if one["src"]]
        assert len(pictures) > 30
        assert {one["src"][:16] for one in pictures} <= {"data:image/webp;", "data:image/gif;b"}
        assert all(one["width"] for one in pictures)
        tab.run("document.querySelector('a.shot').click()")
        tab.wait("document.getElementById('image-now').naturalWidth > 1")
        assert tab.run("document.getElementById('image-now').src.startsWith('data:image/webp')")
        assert [url for url in tab.requests if not url.startswith(("data:", page.as_uri()))] == []
        assert tab.errors == []
        tab.go(frame.as_uri())
        tab.run(f"document.querySelector('iframe').srcdoc = {json.dumps(page.read_text(encoding='utf-8'))}")
        time.sleep(1)
        assert tab.errors == [], "scripts and pictures need no origin of their own"
