import os
from pathlib import Path

import pandas as pd
import pytest

from pipeline import collect as stage
from pipeline.core import params as params_module
from pipeline.core.errors import InputError, ParamsError
from pipeline.core.lineage import digest_bytes, digest_tree
from pipeline.core.paths import Paths
from pipeline.core.records import MANIFEST_COLUMNS, Candidate, Rejection
from pipeline.io.files import atomic_write
from pipeline.sources import SOURCES
from pipeline.sources.folder import FolderSource
from pipeline.sources.world import items
from tests.pictures import encoded, scene
from tests.project import ROOT, edit_params

COLUMNS = (
    "source source_id image_url page_url title caption author licence licence_url author_url licence_text shows taxon"
)
COLUMNS += " evidence final_url content_type sha256 path bytes kept reason_code reason"


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return tmp_path


def _collect(project: Path, *sources: dict, key: str = "dodo"):
    species = {"name": "Raphus cucullatus", "class_noun": "bird", "sources": list(sources)}
    edit_params(project, {"species": {key: species}})
    paths = Paths(project, key)
    return stage.collect(params_module.load(paths.params), paths), paths


def _folder(**more) -> dict:
    return {"kind": "folder", "path": "pictures", "licence": "CC-BY-4.0", "author": "Jane Doe", **more}


@pytest.fixture
def offers(monkeypatch):
    """Let the folder source offer what a test gives."""

    def offer(*candidates: tuple[str, str, bytes | Rejection]) -> None:
        found = [(Candidate("shop", name, "", licence=licence), content) for name, licence, content in candidates]

        class Shop(FolderSource):
            def pictures(self, params, context):
                return iter(found)

        monkeypatch.setitem(SOURCES, "folder", Shop)

    return offer


def test_every_candidate_is_a_row_and_original_bytes_are_kept(project, offers):
    picture, other = encoded(scene(1), "JPEG"), encoded(scene(2))
    offers(
        ("e", "CC0-1.0", b""),
        ("d", "CC0-1.0", b"<html>gone</html>"),
        ("c", "cc-by-4.0", picture),
        ("b", "CC0-1.0", picture),
        ("a", "CC0-1.0", other),
        ("f", " ", other),
        ("g", "CC-BY-NC-4.0", encoded(scene(3))),
        ("h", "CC0-1.0", Rejection("folder", "unreadable_file", "It cannot be read.")),
        ("i", "CC0-1.0", b"8BPS"),
    )
    report, paths = _collect(project, _folder())
    manifest = pd.read_parquet(paths.raw / "manifest.parquet")
    assert list(manifest.columns) == list(MANIFEST_COLUMNS) == COLUMNS.split()
    assert list(manifest["source_id"]) == list("abcdefghi")
    assert list(manifest["reason_code"]) == [
        "",
        "same_bytes",
        "",
        "not_an_image",
        "empty_file",
        "licence_missing",
        "licence_refused",
        "unreadable_file",
        "unsupported_format",
    ]
    assert manifest["kept"].equals(manifest["reason_code"] == "") and manifest["path"].ne("").equals(manifest["kept"])
    assert (manifest["reason"] != "").equals(~manifest["kept"])
    row = manifest.iloc[2]
    stored = [f"{digest_bytes(picture)}.jpg", f"{digest_bytes(other)}.png"]
    assert (row["licence"], row["bytes"], row["path"]) == ("CC-BY-4.0", len(picture), f"images/{stored[0]}")
    assert (paths.raw / row["path"]).read_bytes() == picture
    assert sorted(path.name for path in paths.raw.glob("images/*")) == sorted(stored)
    assert "'CC-BY-NC-4.0'" in manifest["reason"][6] and "collect.licences" in manifest["reason"][6]
    card = atomic_write.read_card(paths.raw)
    assert (card["n_candidates"], card["n_kept"], card["by_reason"]["same_bytes"]) == (9, 2, 1)
    assert report.lines[0].startswith("collect dodo: 2 of 9 files kept; not kept: 1 empty_file")


def test_a_picture_refused_for_its_licence_does_not_hide_a_free_copy(project, offers):
    picture = encoded(scene(1))
    offers(("a", "", picture), ("b", "CC0-1.0", picture))
    _, paths = _collect(project, _folder())
    assert list(pd.read_parquet(paths.raw / "manifest.parquet")["reason_code"]) == ["licence_missing", ""]


def test_a_refused_candidate_makes_no_other_data_set(project, offers):
    kept = ("a", "CC0-1.0", encoded(scene(1)))
    offers(kept)
    first = atomic_write.read_card(_collect(project, _folder())[1].raw)["digest"]
    offers(kept, ("b", "CC0-1.0", b"<html>"))
    assert atomic_write.read_card(_collect(project, _folder())[1].raw)["digest"] == first
    offers((*kept[:1], "CC-BY-4.0", kept[2]))
    assert atomic_write.read_card(_collect(project, _folder())[1].raw)["digest"] != first


def test_without_any_picture_the_stage_fails_and_earlier_results_stay(project, offers):
    offers(("a", "CC0-1.0", encoded(scene(1))))
    _, paths = _collect(project, _folder())
    before = digest_tree(paths.raw)
    offers(("a", "CC0-1.0", b"<html>"), ("b", "", encoded(scene(1))))
    with pytest.raises(InputError, match="no picture that can be used: 2 files, of them 1 licence_missing, 1 not_an_"):
        _collect(project, _folder())
    assert digest_tree(paths.raw) == before
    assert [path.name for path in paths.raw.parent.iterdir()] == ["dodo"]


def test_a_missing_folder_leaves_earlier_results_intact(project):
    (project / "pictures").mkdir()
    (project / "pictures/a.png").write_bytes(encoded(scene(1)))
    _, paths = _collect(project, _folder())
    before = digest_tree(paths.raw)
    with pytest.raises(InputError, match="'elsewhere' is not there"):
        _collect(project, _folder(path="elsewhere"))
    assert digest_tree(paths.raw) == before


def test_pictures_of_several_sources_come_together(project):
    (project / "pictures").mkdir()
    (project / "pictures/a.png").write_bytes(encoded(scene(1)))
    _, paths = _collect(project, _folder(), {"kind": "synthetic", "taxon": "sinomacrops", "good": 2, "clutter": 0})
    sources = pd.read_parquet(paths.raw / "manifest.parquet")["source"]
    assert list(sources) == ["folder:pictures", "synthetic:sinomacrops", "synthetic:sinomacrops"]


def test_the_embedded_world_is_collected_the_same_twice(project):
    source = {"kind": "synthetic", "taxon": "dimorphodontidae", "good": 3, "clutter": 13}
    _, paths = _collect(project, source)
    first = digest_tree(paths.raw)
    manifest = pd.read_parquet(paths.raw / "manifest.parquet")
    truth = items.truth("dimorphodontidae", params_module.load(paths.params).seed, 3, 13)
    assert set(manifest["source_id"]) == set(truth)
    assert {truth[name] for name in manifest.loc[~manifest["kept"], "source_id"]} == {"html"}
    _collect(project, source)
    assert digest_tree(paths.raw) == first


def test_an_unknown_taxon_is_named_with_the_nearest(project):
    with pytest.raises(ParamsError, match="no taxon 'sinomacrop'; did you mean 'sinomacrops'"):
        _collect(project, {"kind": "synthetic", "taxon": "sinomacrop", "good": 2, "clutter": 0})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(project, offers):
    offers(("a", "CC0-1.0", encoded(scene(1))))
    (project / "data").mkdir(mode=0o500)
    with pytest.raises(InputError, match="cannot write to .*check its permissions"):
        _collect(project, _folder())


def test_a_file_in_the_way_is_one_sentence(project, offers):
    offers(("a", "CC0-1.0", encoded(scene(1))))
    (project / "data").write_text("in the way")
    with pytest.raises(InputError, match="cannot write to .*data/raw"):
        _collect(project, _folder())
