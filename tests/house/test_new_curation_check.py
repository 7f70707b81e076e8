"""A new curation check is one new file and one line: its params, column, code, title and remedy appear everywhere."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from pipeline import collect as collecting
from pipeline import curate as stage
from pipeline.commands import review as reviewing
from pipeline.commands.dag import deps
from pipeline.core import params as params_module
from pipeline.core.errors import InputError, ParamsError
from pipeline.core.paths import Paths
from pipeline.curation import CHECKS
from tests.pictures import encoded, scene
from tests.project import ROOT, edit_params

NEW_FILE = textwrap.dedent('''\
    """Brightness check: no picture that is almost white."""

    from __future__ import annotations

    from pipeline.core.param_types import Fraction
    from pipeline.core.reason_codes import ReasonCode
    from pipeline.core.records import Rejection
    from pipeline.curation.check import Check, CheckFindings, CheckParams, rows


    class BrightnessParams(CheckParams):
        max_lightness: Fraction = 1.0
        """Of the mean colour; 1 is white."""


    class BrightnessCheck(Check):
        Params = BrightnessParams
        codes = (
            ReasonCode(
                "too_bright",
                "dark enough",
                "Too bright",
                "Almost white all over.",
                "darken them or raise `curate.brightness.max_lightness`",
                score_digits=2,
            ),
        )
        columns = {"whiteness": "float64"}

        def check(self, scores, remaining, curate):
            lightness = scores["lightness"].to_numpy(dtype=float)
            bright = rows(remaining & (lightness > BrightnessParams.of(curate).max_lightness))
            sentence = "It is almost white."
            drops = {row: Rejection("brightness", "too_bright", sentence, float(lightness[row])) for row in bright}
            return CheckFindings(drops, columns={"whiteness": lightness})

        def review_reasons(self, curate):
            return ("overexposed",)
    ''')
SOURCE = {"kind": "folder", "path": "pictures", "licence": "CC-BY-4.0", "author": "Jane Doe", "trusted": True}
SPECIES = {"dodo": {"name": "Raphus cucullatus", "class_noun": "bird", "sources": [SOURCE]}}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project with two pictures, a bright and a dark one, and the new check."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/brightness_check.py").write_text(NEW_FILE)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setitem(CHECKS, "brightness", "brightness_check:BrightnessCheck")
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "pictures").mkdir()
    dark = scene(1)
    (tmp_path / "pictures/dark").write_bytes(encoded(Image.blend(dark, Image.new("RGB", dark.size), 0.5)))
    bright = scene(2)
    (tmp_path / "pictures/bright").write_bytes(
        encoded(Image.blend(bright, Image.new("RGB", bright.size, "white"), 0.7))
    )
    return tmp_path


def _curate(project: Path, max_lightness: float) -> Paths:
    edit_params(project, {"species": SPECIES, "curate": {"brightness": {"max_lightness": max_lightness}}})
    params, paths = params_module.load(project / "params.yaml"), Paths(project, "dodo")
    collecting.collect(params, paths)
    stage.curate(params, paths)
    return paths


def test_its_verdicts_words_and_column_are_in_the_tables_and_on_the_pages(project):
    paths = _curate(project, 0.7)
    verdicts = pd.read_parquet(paths.curated / "verdicts.parquet").set_index("source_id")
    assert verdicts["code"].to_dict() == {"bright": "too_bright", "dark": "kept"}
    assert verdicts["whiteness"].between(0, 1).all()

    sheet = (paths.curation / "contact_sheet.html").read_text()
    assert '<section id="too_bright">' in sheet and "Too bright" in sheet and "Almost white all over." in sheet
    report = (paths.curation / "index.html").read_text()
    assert "dark enough" in report and '<a href="contact_sheet.html#too_bright">Too bright</a>' in report

    classes = {"life reconstruction": ["a bird"], "map": ["a map"]}  # so that the page has keys left for more reasons
    edit_params(project, {"curate": {"zero_shot": {"classes": classes}}})
    reviewing.review(params_module.load(paths.params), paths)
    assert "overexposed" in (project / ".work/review/dodo/index.html").read_text()


def test_its_remedy_is_in_the_error_when_nothing_is_left(project):
    remedy = "dropped 2 too_bright; darken them or raise `curate.brightness.max_lightness`; see"
    with pytest.raises(InputError, match=re.escape(remedy)):
        _curate(project, 0.0)


def test_its_params_are_checked_like_all_others(project):
    edit_params(project, {"curate": {"brightness": {"max_lightnes": 0.5}}})
    with pytest.raises(ParamsError, match="'curate.brightness.max_lightnes'; did you mean 'max_lightness'"):
        params_module.load(project / "params.yaml")


def test_its_file_is_code_that_curate_depends_on_and_no_other_stage(tmp_path):
    ignore = shutil.ignore_patterns("__pycache__", "assets")
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=ignore)
    before = deps(tmp_path, "validate")
    (tmp_path / "pipeline/curation/brightness.py").write_text(NEW_FILE)
    table = tmp_path / "pipeline/curation/__init__.py"
    line = '    "brightness": "pipeline.curation.brightness:BrightnessCheck",\n}'
    table.write_text(re.sub(r"}\s*\Z", line, table.read_text()))
    assert "pipeline/curation" in deps(tmp_path, "curate")  # the whole folder, the new file among it
    assert deps(tmp_path, "validate") == before
