from __future__ import annotations

import json
import shutil

import pytest

from pipeline.core.errors import GateError, InputError, ParamsError
from pipeline.core.paths import Paths
from pipeline.expectations import EXPECTATIONS
from pipeline.io.files import atomic_write
from pipeline.validate import validate
from tests import site_fixture as fixture
from tests import validation_fixture as world
from tests.validation_fixture import spoil, spoil_manifest

PARAMS = fixture.params()
KEY = "sinomacrops"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("curated")
    world.write(PARAMS, Paths(root, KEY))
    return root


@pytest.fixture
def paths(pristine, tmp_path):
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    return Paths(tmp_path, KEY)


def _verdict(paths: Paths) -> dict:
    return json.loads((paths.validation / "verdict.json").read_text())


def _entry(paths: Paths, name: str) -> dict:
    return next(entry for entry in _verdict(paths)["expectations"] if entry["name"] == name)


def _page(paths: Paths) -> str:
    return (paths.validation / "index.html").read_text()


def test_a_sound_set_is_accepted_with_verdict_page_and_card(paths):
    report = validate(PARAMS, paths)
    verdict = _verdict(paths)
    assert report.lines == ("validate sinomacrops: 27 of 27 expectations hold for 8 training and 4 held-out pictures",)
    assert (verdict["success"], verdict["stopped"], verdict["warned"]) == (True, [], [])
    assert verdict["dataset_digest"] == json.loads((paths.curated / "card.json").read_text())["digest"]
    assert "<b>Accepted.</b>" in (paths.validation / "index.html").read_text()
    assert json.loads((paths.validation / "card.json").read_text())["success"] is True


def test_the_same_set_gives_the_same_bytes(paths):
    spoil(paths, 9, author="", licence="CC-BY-4.0")
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
        ("no_leak", "no leak", {"pixel_sha256": ("row", 0)}),
        ("near_leak", "no near leak", {"group": ("row", 0)}),
        ("near_leak", "no near leak", {"phash": ("row", 0), "dhash": ("row", 0)}),
        ("series_leak", "no series on both sides", {"series": ("row", 0)}),
    ],
)
def test_a_bad_row_stops_and_is_named(paths, name, title, values):
    held_out = world.kept(paths).loc[0]
    assert held_out["split"] == "holdout"
    file_name = spoil(paths, 6, **values)
    with pytest.raises(GateError) as refused:
        validate(PARAMS, paths)
    assert "expectations failed for sinomacrops" in str(refused.value)
    assert f"'{title}'" in str(refused.value)
    assert file_name in str(refused.value)
    verdict = _verdict(paths)
    assert name in verdict["stopped"]
    assert not verdict["success"]
    assert file_name in (paths.validation / "index.html").read_text()


def test_too_few_pictures_names_what_was_dropped_why_and_the_switch_that_mends_it(paths):
    card = atomic_write.read_card(paths.curated)
    zero_shot = "if you chose them by hand, give their folder `trusted: true`"
    atomic_write.write_card(paths.curated, **card, dropped=f"9 wrong_class, 1 blurred; {zero_shot}")
    world.write_kept(paths, world.kept(paths).iloc[:2])
    with pytest.raises(GateError) as refused:
        validate(PARAMS, paths)
    assert "'enough training pictures'" in str(refused.value)
    report = "reports/curation/sinomacrops/index.html shows each"
    assert f"Curation dropped 9 wrong_class, 1 blurred; {zero_shot} ({report})" in str(refused.value)


def test_what_was_dropped_is_not_named_where_enough_is_left(paths):
    atomic_write.write_card(paths.curated, **atomic_write.read_card(paths.curated), dropped="9 wrong_class")
    spoil(paths, 6, caption="  ")
    with pytest.raises(GateError) as refused:
        validate(PARAMS, paths)
    assert "wrong_class" not in str(refused.value)


def test_a_bad_row_that_warns_lets_the_run_go_on(paths):
    spoil(paths, 5, caption=f"Sinomacrops {'word ' * 60}")
    spoil(paths, 6, caption="a <b>thing</b>")
    spoil(paths, 7, author="", licence="CC-BY-4.0")
    spoil(paths, 8, clip_margin=-0.2)
    report = validate(PARAMS, paths)
    assert _verdict(paths)["warned"] == ["author", "caption_length", "caption_name", "class_margin"]
    assert len(report.lines) == 5
    page = (paths.validation / "index.html").read_text()
    assert "a &lt;b&gt;thing&lt;/b&gt;" in page
    assert "61 words" in page
    assert "margin -0.200" in page


def test_bad_files_are_told_apart(paths):
    names = world.kept(paths)["file_name"]
    (paths.curated / names[4]).unlink()
    (paths.curated / names[5]).write_bytes(b"<html>")
    (paths.curated / names[6]).write_bytes((paths.curated / names[7]).read_bytes()[:300])
    shutil.copy(paths.curated / names[8], paths.curated / names[9])
    fixture.picture(77, 40).save(paths.curated / names[10])
    fixture.picture(78, 200).convert("RGBA").save(paths.curated / names[11])
    with pytest.raises(GateError, match=r"^4 of 27 expectations failed .*'readable' \(3 of 12 pictures: "):
        validate(PARAMS, paths)
    assert _verdict(paths)["stopped"] == ["decodable", "unique", "size", "mode"]
    page = (paths.validation / "index.html").read_text()
    for problem in ("the file is missing", "the file is no picture", "the picture is damaged", "40 px", "RGBA"):
        assert problem in page
    assert page.count("data:image/webp;base64,") == 4


def test_the_same_pixels_on_both_sides_are_a_leak_whatever_the_table_says(paths):
    table = world.kept(paths)
    shutil.copy(paths.curated / table["file_name"][0], paths.curated / table["file_name"][8])
    with pytest.raises(GateError, match="'no leak'"):
        validate(PARAMS, paths)


def test_too_few_pictures_stop_with_both_numbers(tmp_path):
    paths = Paths(tmp_path, KEY)
    world.write(PARAMS, paths, kept=2, held_out=0)
    with pytest.raises(GateError) as refused:
        validate(PARAMS, paths)
    assert str(refused.value) == (
        "2 of 27 expectations failed for sinomacrops: 'enough training pictures' (2; at least 3 are needed); "
        "'enough held-out pictures' (0; at least 1 is needed). Nothing is trained on it. "
        "reports/validation/sinomacrops/index.html shows the pictures; mend the source (and look at it again: "
        "`paleo run sinomacrops --refresh`) or `curate:` in params.yaml"
    )


def test_an_empty_set_is_refused_and_not_praised(paths):
    world.write_kept(paths, world.kept(paths).iloc[:0])
    with pytest.raises(GateError, match="'enough training pictures' \\(0; at least 3 are needed\\)"):
        validate(PARAMS, paths)
    assert _entry(paths, "decodable")["observed"] == "nothing to look at"


def test_severity_decides_what_stops(paths):
    spoil(paths, 6, licence="")
    lenient = fixture.params(**{"\nvalidate:\n": "\nvalidate:\n  severity: {licence: warn}\n"})
    assert len(validate(lenient, paths).lines) == 2
    assert _verdict(paths)["warned"] == ["licence"]


def test_a_picture_without_margin_is_not_judged_by_it(paths):
    table = world.kept(paths)
    world.write_kept(paths, table.assign(clip_margin=float("nan")))
    assert validate(PARAMS, paths).lines[0].startswith("validate sinomacrops: 27 of 27")


def test_what_is_not_there_is_said_in_a_sentence(paths):
    table = world.kept(paths)
    world.write_kept(paths, table.drop(columns=["group", "licence"]))
    with pytest.raises(
        InputError, match="lacks group, licence, so an earlier version wrote it; run `paleo curate sinomacrops` again"
    ):
        validate(PARAMS, paths)
    (paths.curated / "card.json").unlink()
    with pytest.raises(InputError, match="card.json is missing; run the stage that writes it"):
        validate(PARAMS, paths)
    assert not paths.validation.exists()


WARNS = {
    "manifest_author",
    "manifest_page",
    "manifest_count",
    "aspect",
    "author",
    "landing_page",
    "caption_length",
    "caption_vocabulary",
    "caption_name",
    "author_share",
    "class_margin",
    "drift",
}


def test_every_expectation_has_a_name_of_its_own_and_its_severity(paths):
    validate(PARAMS, paths)
    entries = _verdict(paths)["expectations"]
    assert len({entry["name"] for entry in entries}) == len(entries) == 27
    assert {entry["name"] for entry in entries if entry["severity"] == "warn"} == WARNS
    assert {entry["severity"] for entry in entries} == {"stop", "warn"}


def test_the_suites_are_named_by_what_they_are_about():
    assert {name: suite.noun for name, suite in EXPECTATIONS.items()} == {name: name for name in EXPECTATIONS}


def test_a_severity_of_an_unknown_expectation_is_refused_before_anything_is_read(tmp_path):
    params = fixture.params(**{"\nvalidate:\n": "\nvalidate:\n  severity: {licenc: warn}\n"})
    with pytest.raises(ParamsError, match="validate.severity names 'licenc', .*; did you mean 'licence'"):
        validate(params, Paths(tmp_path, KEY))


def test_the_layers_are_told_apart_in_the_verdict(paths):
    validate(PARAMS, paths)
    layers = [(e["name"].startswith("manifest_"), e["layer"]) for e in _verdict(paths)["expectations"]]
    assert set(layers) == {(True, "manifest"), (False, "curated")}


@pytest.mark.parametrize(
    ("name", "value", "spoilt"),
    [
        ("manifest_licence", "licence 'CC-BY-NC-4.0'", {"licence": "CC-BY-NC-4.0"}),
        ("manifest_licence", "licence ''", {"licence": ""}),
        ("manifest_stored", "the file is missing", {"path": f"images/{'0' * 64}.png", "sha256": "0" * 64}),
        ("manifest_stored", "the file is not called as its sha256", {"path": "images/../../etc/passwd"}),
        ("manifest_stored", "no file is named", {"path": ""}),
        ("manifest_stored", "the file has another size than when it was collected", {"bytes": 7}),
        ("manifest_unique", "", {"sha256": ("row", 5), "path": ("row", 5), "bytes": ("row", 5)}),
    ],
)
def test_a_bad_candidate_stops_and_is_named(paths, name, value, spoilt):
    curated = world.kept(paths)
    world.write_kept(paths, curated[curated["sha256"] != world.manifest(paths)["sha256"][6]])
    candidate = spoil_manifest(paths, 6, **spoilt)
    with pytest.raises(GateError) as refused:
        validate(PARAMS, paths)
    assert candidate in str(refused.value)
    entry = _entry(paths, name)
    assert name in _verdict(paths)["stopped"]
    assert candidate in entry["offending"] and value in entry["values"]
    assert candidate in _page(paths)


def test_candidates_that_warn(paths):
    spoil_manifest(paths, 2, author="Unknown", licence="CC-BY-4.0")
    spoil_manifest(paths, 3, source="commons:Pterosauria", page_url="")
    spoil_manifest(paths, 4, source="commons:Pterosauria", page_url="https://commons.wikimedia.org/wiki/File:A.jpg")
    demanding = fixture.params(**{"min_kept_share: 0.05": "min_kept_share: 0.9"})
    lines = validate(demanding, paths).lines
    assert _verdict(paths)["warned"] == ["manifest_author", "manifest_page", "manifest_count"]
    assert lines[2] == "warning: 'landing page known' (1 of 2 candidates: 0003 (commons:Pterosauria))"
    assert lines[3] == "warning: 'enough of it kept' (85.7% kept; at least 90% of the candidates are kept)"


def test_a_refused_candidate_is_only_asked_for_its_reason(paths):
    assert spoil_manifest(paths, 12, licence="", author="", reason_code="") == "9001 (folder)"
    with pytest.raises(GateError, match=r"'reason given' \(1 of 2 candidates: 9001 \(folder\)\)"):
        validate(PARAMS, paths)
    assert _verdict(paths)["stopped"] == ["manifest_reason"]
    assert "no picture" in _page(paths)


def test_ported_licences_and_other_spellings_are_the_licence_itself(paths):
    spoil(paths, 5, licence="CC-BY-SA-3.0-DE")
    spoil(paths, 6, licence="cc-by-4.0")
    spoil_manifest(paths, 5, licence="CC-BY-SA-3.0-DE")
    assert validate(PARAMS, paths).lines[0].startswith("validate sinomacrops: 27 of 27")


def test_pictures_that_warn_for_what_they_are(paths):
    spoil(paths, 5, caption="Fossils of Sinomacrops")
    spoil(paths, 6, source="openverse:sinomacrops", page_url="")
    long = spoil(paths, 7)
    fixture.picture(70, 500).resize((500, 100)).save(paths.curated / long)
    world.write_kept(paths, world.kept(paths).assign(author="B. Smith"))
    validate(PARAMS, paths)
    assert _verdict(paths)["warned"] == ["aspect", "landing_page", "caption_vocabulary", "author_share"]
    assert _entry(paths, "aspect")["values"] == ["5.0 times as long"]
    assert _entry(paths, "caption_vocabulary")["values"] == ["'Fossils of Sinomacrops'"]
    assert _entry(paths, "author_share")["offending"] == ["B. Smith"]
    assert _entry(paths, "author_share")["values"] == ["100% of the training pictures"]
    assert _entry(paths, "author_share")["observed"] == "1 of 1 authors"


def test_authors_whom_nobody_knows_are_not_one_author(paths):
    world.write_kept(paths, world.kept(paths).assign(author="unknown", licence="PDM-1.0"))
    validate(PARAMS, paths)
    assert _verdict(paths)["warned"] == []


def test_a_leak_shows_both_pictures_and_what_they_are_like(paths):
    trained, held = spoil(paths, 6, series=("row", 0)), world.kept(paths).loc[0, "file_name"]
    with pytest.raises(GateError, match="'no series on both sides' \\(2 of 12 pictures"):
        validate(PARAMS, paths)
    entry = _entry(paths, "series_leak")
    assert dict(zip(entry["offending"], entry["values"])) == {
        held: f"a series with {trained}",
        trained: f"a series with {held}",
    }


def test_many_offenders_are_counted_in_full_and_shown_in_part(paths):
    world.write(PARAMS, paths, kept=40, held_out=5)
    world.write_kept(paths, world.kept(paths).assign(licence=""))
    with pytest.raises(GateError, match="40 of 40 pictures: .* and 35 more"):
        validate(PARAMS, paths)
    assert (_entry(paths, "licence")["n_offending"], len(_entry(paths, "licence")["offending"])) == (40, 40)
    assert "and 16 more" in _page(paths)


def test_a_new_version_is_compared_with_the_one_before_and_running_again_changes_nothing(paths):
    world.write(PARAMS, paths, kept=40, held_out=5)
    validate(PARAMS, paths)
    first = world.kept(paths)["sharpness"]
    assert _entry(paths, "drift")["observed"] == "no earlier version to compare with"
    world.new_version(paths, "b" * 64, sharpness=first * 10)
    lines = validate(PARAMS, paths).lines
    assert lines[1] == "warning: 'like the version before' (1 of 3 quantities: sharpness)"
    assert _verdict(paths)["warned"] == ["drift"]
    assert "Against the version before" in _page(paths)
    before = {path: path.read_bytes() for path in (*paths.validation.iterdir(), paths.statistics)}
    validate(PARAMS, paths)
    assert {path: path.read_bytes() for path in before} == before
    world.new_version(paths, "c" * 64, sharpness=first * 10)
    assert len(validate(PARAMS, paths).lines) == 1
    assert _verdict(paths)["previous_digest"] == "b" * 64


def test_a_refused_version_is_none_that_the_next_one_is_compared_with(paths):
    validate(PARAMS, paths)
    accepted = paths.statistics.read_bytes()
    world.new_version(paths, "b" * 64, licence="")
    with pytest.raises(GateError):
        validate(PARAMS, paths)
    assert paths.statistics.read_bytes() == accepted


@pytest.mark.parametrize("content", ["", "<<<<<<< HEAD", "[]", '{"dataset_digest": "a"}'])
def test_statistics_that_cannot_be_read_say_what_to_do(paths, content):
    paths.statistics.parent.mkdir(parents=True, exist_ok=True)
    paths.statistics.write_text(content)
    with pytest.raises(InputError, match="does not hold the statistics of a version .*restore it from git"):
        validate(PARAMS, paths)


def test_a_collection_that_is_not_the_one_that_was_curated_is_refused(paths):
    table = world.manifest(paths)
    world.write_manifest(paths, table[table["sha256"] != world.kept(paths)["sha256"][3]])
    with pytest.raises(InputError, match="has 1 of 12 pictures that .*run `paleo curate sinomacrops` again"):
        validate(PARAMS, paths)


def test_tables_of_an_earlier_form_name_the_stage_to_run(paths):
    world.write_manifest(paths, world.manifest(paths).drop(columns="reason_code"))
    with pytest.raises(InputError, match="manifest.parquet lacks reason_code.*run `paleo collect sinomacrops` again"):
        validate(PARAMS, paths)
    world.write(PARAMS, paths)
    world.write_kept(paths, world.kept(paths).drop(columns="series"))
    with pytest.raises(InputError, match="metadata.parquet lacks series.*run `paleo curate sinomacrops` again"):
        validate(PARAMS, paths)


def test_nothing_collected_and_nothing_curated_are_refused(paths):
    world.write_manifest(paths, world.manifest(paths).iloc[:0])
    world.write_kept(paths, world.kept(paths).iloc[:0])
    with pytest.raises(GateError):
        validate(PARAMS, paths)
    assert _entry(paths, "manifest_count")["observed"] == "no candidates"
    assert not _entry(paths, "manifest_count")["success"]
