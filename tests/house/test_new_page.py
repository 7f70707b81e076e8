"""A page of the site is its module with its template, and one line: in a copy of the code a new one is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import site_fixture

ROOT = Path(__file__).parents[2]
MODULE = """
from pipeline.pages import render


def licences_page(site):
    return {"licences.html": render("gallery/licences.html", species=site.species)}
"""
TEMPLATE = """{% extends "templates/base.html" %}
{% set styles = ["gallery/licences.css"] %}
{% block main %}{% for one in species %}
<h2>{{ one.name }}</h2>{{ counted(one.credits | length, "picture") }}
{% endfor %}{% endblock %}
"""
RUN = """
from pathlib import Path
from pipeline.core import params
from pipeline.core.import_closure import import_closure
from pipeline.core.paths import Paths
from pipeline.gallery import gallery

gallery(params.load(Path("params.yaml")), Paths(Path.cwd(), ""))
for stage in ("gallery", "curate"):
    print(stage, *(path for path in import_closure(Path.cwd(), [f"pipeline.{stage}"]) if "gallery/licences." in path))
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A project with its own copy of the code, and results of one species."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("assets", "__pycache__"))
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    site_fixture.complete(site_fixture.params(), tmp_path, "sinomacrops")
    return tmp_path


def test_a_new_page_is_written_and_belongs_to_the_gallery_alone(project):
    pages = project / "pipeline/pages/gallery"
    (pages / "licences.py").write_text(MODULE)
    (pages / "licences.html").write_text(TEMPLATE)
    (pages / "licences.css").write_text("h2 { color: rebeccapurple; }")
    registry, line = pages / "__init__.py", '    "licences": "pipeline.pages.gallery.licences:licences_page",\n'
    text = registry.read_text()
    start = text.index("PAGES: dict[str, str] = {\n") + len("PAGES: dict[str, str] = {\n")
    registry.write_text(text[:start] + line + text[start:])

    environment = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    page = (project / "site/licences.html").read_text()
    assert "<h2>Sinomacrops bondei</h2>12 pictures" in page
    assert "rebeccapurple" in page and "default-src 'none'" in page, "with its style, in the common frame"
    folder = "pipeline/pages/gallery/licences"
    assert f"gallery {folder}.css {folder}.html {folder}.py" in done.stdout.splitlines()
    assert "curate" in done.stdout.splitlines()
