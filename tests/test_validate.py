from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from pipeline.core.errors import GateError, InputError
from pipeline.core.params import Severity
from pipeline.core.paths import Paths
from pipeline.curation.expectations import expectations
from pipeline.io import tables
from pipeline.validate import validate
from tests import site_fixture as fixture

PARAMS = fixture.params()
KEY = "sinomacrops"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("curated")
    fixture.write_curated(PARAMS, Paths(root, KEY))
    return root


@pytest.fixture
def paths(pristine, tmp_path):
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    return Paths(tmp_path, KEY)


def _verdict(paths: Paths) -> dict:
    return json.loads((paths.validation / "verdict.json").read_text())


def _spoil(paths: Paths, row: int, **values) -> str:
    """Change a row of metadata.parquet; returns its file name."""
    table = tables.read(paths.curated / "metadata.parquet")
    for column, value in values.items():
        table.loc[row, column] = table.loc[value[1], column] if isinstance(value, tuple) else value
    fixture.write_metadata(paths, table)
    return table.loc[row, "file_name"]


def test_a_sound_set_is_accepted_with_verdict_page_and_card(paths):
    report = validate(PARAMS, paths)
    verdict = _verdict(paths)
    assert report.lines == ("validate sinomacrops: 13 of 13 expectations hold for 8 training and 4 held-out pictures",)
    assert (verdict["success"], verdict["stopped"], verdict["warned"]) == (True, [], [])
    assert verdict["dataset_digest"] == json.loads((paths.curated / "card.json").read_text())["digest"]
    assert "<b>Accepted.</b>" in (paths.validation / "index.html").read_text()
    assert json.loads((paths.validation / "card.json").read_text())["success"] is True


def test_the_same_set_gives_the_same_bytes(paths):
    _spoil(paths, 9, author="", licence="CC-BY-4.0")
    validate(PARAMS, paths)
    first = {path.name: path.read_bytes() for path in paths.validation.iterdir()}
    validate(PARAMS, paths)
    assert {path.name: path.read_bytes() for path in paths.validation.iterdir()} == first
    assert str(paths.root) not in first["index.html"].decode()


@pytest.mark.parametrize(
    ("name", "title", "values"),
    [
        ("licence", "licence known and allowed", {"licence": "CC-BY-NC-4.0"}),
        ("licence", "licence known and allowed", {"licence": ""}),
        ("licence", "licence known and allowed", {"licence": None}),
        ("caption", "caption there", {"caption": "  "}),
        ("no_leak", "no leak", {"group": ("row", 0)}),
        ("no_leak", "no leak", {"sha256": ("row", 0)}),
        ("no_leak", "no leak", {"pixel_sha256": ("row", 0)}),
    ],
)
def test_a_bad_row_stops_and_is_named(paths, name, title, values):
    held_out = tables.read(paths.curated / "metadata.parquet").loc[0]
    assert held_out["split"] == "holdout"
    file_name = _spoil(paths, 6, **values)
    with pytest.raises(GateError) as refused:
        validate(PARAMS, paths)
    assert "expectations failed for sinomacrops" in str(refused.value)
    assert f"'{title}'" in str(refused.value)
    assert file_name in str(refused.value)
    verdict = _verdict(paths)
    assert name in verdict["stopped"]
    assert not verdict["success"]
    assert file_name in (paths.validation / "index.html").read_text()


def test_a_bad_row_that_warns_lets_the_run_go_on(paths):
    _spoil(paths, 5, caption=f"Sinomacrops {'word ' * 60}")
    _spoil(paths, 6, caption="a <b>thing</b>")
    _spoil(paths, 7, author="", licence="CC-BY-4.0")
    _spoil(paths, 8, clip_margin=-0.2)
    report = validate(PARAMS, paths)
    assert _verdict(paths)["warned"] == ["author", "caption_length", "caption_name", "class_margin"]
    assert len(report.lines) == 5
    page = (paths.validation / "index.html").read_text()
    assert "a &lt;b&gt;thing&lt;/b&gt;" in page
    assert "61 words" in page
    assert "margin -0.200" in page


def test_bad_files_are_told_apart(paths):
    names = tables.read(paths.curated / "metadata.parquet")["file_name"]
    (paths.curated / names[4]).unlink()
    (paths.curated / names[5]).write_bytes(b"<html>")
    (paths.curated / names[6]).write_bytes((paths.curated / names[7]).read_bytes()[:300])
    shutil.copy(paths.curated / names[8], paths.curated / names[9])
    fixture.picture(77, 40).save(paths.curated / names[10])
    fixture.picture(78, 200).convert("RGBA").save(paths.curated / names[11])
    with pytest.raises(GateError, match=r"^4 of 13 expectations failed .*'readable' \(3 of 12 pictures: "):
        validate(PARAMS, paths)
    assert _verdict(paths)["stopped"] == ["decodable", "unique", "size", "mode"]
    page = (paths.validation / "index.html").read_text()
    for problem in ("the file is missing", "the file is no picture", "the picture is damaged", "40 px", "RGBA"):
        assert problem in page
    assert page.count("data:image/webp;base64,") == 4


def test_the_same_pixels_on_both_sides_are_a_leak_whatever_the_table_says(paths):
    table = tables.read(paths.curated / "metadata.parquet")
    shutil.copy(paths.curated / table["file_name"][0], paths.curated / table["file_name"][8])
    with pytest.raises(GateError, match="'no leak'"):
        validate(PARAMS, paths)


def test_too_few_pictures_stop_with_both_numbers(tmp_path):
    paths = Paths(tmp_path, KEY)
    fixture.write_curated(PARAMS, paths, kept=2, held_out=0)
    with pytest.raises(GateError) as refused:
        validate(PARAMS, paths)
    assert str(refused.value) == (
        "2 of 13 expectations failed for sinomacrops: 'enough training pictures' (2; at least 3 are needed); "
        "'enough held-out pictures' (0; at least 1 is needed). Nothing is trained on it. "
        "reports/validation/sinomacrops/index.html shows the pictures; mend the source (and look at it again: "
        "`paleo run sinomacrops --refresh`) or `curate:` in params.yaml"
    )


def test_an_empty_set_is_refused_and_not_praised(paths):
    fixture.write_metadata(paths, tables.read(paths.curated / "metadata.parquet").iloc[:0])
    with pytest.raises(GateError, match="'enough training pictures' \\(0; at least 3 are needed\\)"):
        validate(PARAMS, paths)
    assert _verdict(paths)["expectations"][0]["observed"] == "no pictures to look at"


def test_severity_decides_what_stops(paths):
    _spoil(paths, 6, licence="")
    lenient = fixture.params(**{"licence: stop": "licence: warn"})
    assert len(validate(lenient, paths).lines) == 2
    assert _verdict(paths)["warned"] == ["licence"]


def test_a_margin_that_was_not_asked_for_is_no_reason(paths):
    table = tables.read(paths.curated / "metadata.parquet")
    fixture.write_metadata(paths, table.assign(clip_margin=float("nan")))
    assert validate(PARAMS, paths).lines[0].startswith("validate sinomacrops: 13 of 13")


def test_what_is_not_there_is_said_in_a_sentence(paths):
    table = tables.read(paths.curated / "metadata.parquet")
    fixture.write_metadata(paths, table.drop(columns=["group", "licence"]))
    with pytest.raises(InputError, match="lacks group, licence; run `paleo curate sinomacrops` again"):
        validate(PARAMS, paths)
    (paths.curated / "card.json").unlink()
    with pytest.raises(InputError, match="card.json is missing; run the stage that writes it"):
        validate(PARAMS, paths)
    assert not paths.validation.exists()


def test_every_expectation_has_its_severity_and_every_severity_its_expectation():
    assert sorted(Severity.model_fields) == sorted(e.name for e in expectations(PARAMS, "Any name"))


def test_every_expectation_reads_a_column_that_the_fact_table_has(paths):
    from pipeline.curation.expectations import facts
    from pipeline.io.checks import measure

    table = tables.read(paths.curated / "metadata.parquet")
    seen = facts(table, measure(paths.curated, table["file_name"]))
    assert isinstance(seen, pd.DataFrame)
    assert {e.kwargs.get("column", "split") for e in expectations(PARAMS, "Any name")} <= set(seen.columns)
