from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from pipeline.pages import FOLDER, counted, render, script_digests
from pipeline.pages.validation import validation_page

TEMPLATES = sorted(
    path.relative_to(FOLDER).as_posix()
    for path in FOLDER.rglob("*")
    if path.is_file() and path.suffix not in (".py", ".pyc")
)
ENTRY = {
    "name": "licence",
    "title": "licence known",
    "need": "is <b>known</b>",
    "layer": "curated",
    "severity": "stop",
    "success": False,
    "observed": "2 of 3 pictures",
    "offending": ["a.png", "b.png"],
    "n_offending": 2,
    "n": 3,
}
VERDICT = {
    "species": "dodo",
    "success": False,
    "stopped": ["licence"],
    "warned": [],
    "expectations": [ENTRY],
    "n_candidates": 5,
    "n_collected": 3,
    "n_train": 2,
    "n_holdout": 1,
    "dataset_digest": "f" * 64,
    "previous_digest": "",
}


def test_a_validation_leads_back_to_the_gallery():
    page = validation_page(VERDICT, name="x", offences={}, licences={}, moved=(), gallery="../../../site/x/index.html")
    assert '<a href="../../../site/x/index.html">gallery</a>' in page
    assert ">gallery<" not in validation_page(VERDICT, name="x", offences={}, licences={}, moved=())


def test_every_value_is_escaped_and_a_missing_one_is_an_error():
    offences = {"licence": [{"file_name": "<img src=x onerror=alert(1)>", "value": "", "picture": ""}]}
    page = validation_page(VERDICT, name="<script>alert(1)</script>", offences=offences, licences={}, moved=())
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "is &lt;b&gt;known&lt;/b&gt;" in page
    assert "and 1 more, named in" in page
    with pytest.raises(UndefinedError):
        render("validation/validation.html", verdict=VERDICT)


def test_a_page_names_the_digests_of_its_scripts_and_allows_no_others():
    assert "script-src &#39;none&#39;" in render("templates/base.html")
    digest = script_digests(["gallery/state.js"])
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", digest)
    assert "default-src 'none'" in render("templates/base.html")


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_request_nothing_from_the_network(name):
    text = (FOLDER / name).read_text()
    assert not re.search(
        r"""(?:src|href)=["']?(?:https?:)?//|@import|url\((?!["']?data:)|fetch\(|XMLHttpRequest""", text
    )
    assert "| safe" not in text
    assert "|safe" not in text


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name.endswith((".js", ".css"))])
def test_scripts_and_styles_stay_readable(name):
    assert (FOLDER / name).read_text().count("\n") < 400
    assert "</script" not in (FOLDER / name).read_text()


def test_every_template_is_part_of_the_installed_package():
    package_data = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"
    ]
    suffixes = {Path(pattern).suffix for pattern in package_data["pipeline"] if pattern.startswith("pages/**/")}
    assert {Path(name).suffix for name in TEMPLATES} <= suffixes


def test_numbers_come_with_their_nouns():
    assert (counted(1, "picture"), counted(2, "picture"), counted(0, "species", "species")) == (
        "1 picture",
        "2 pictures",
        "0 species",
    )
