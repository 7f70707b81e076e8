"""`paleo profile`: every profile gives valid params and keeps comments; the pterosaurs are collected from the web."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from pipeline import __main__ as command_line
from pipeline import collect as stage
from pipeline.core import params as params_module
from pipeline.core.paths import Paths
from pipeline.io.web.client import REPLAY
from tests.pictures import encoded, scene
from tests.project import ROOT, edit_params
from tests.replay import Exchange, recorded, replay

PROFILES = sorted(path.stem for path in (ROOT / "infra/profiles").glob("*.yaml"))
MATCH = "api.gbif.org/v1/species/match"
CLADE = "402efb6b-634b-4fe4-ac6e-547e8c37a437"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with the project's params.yaml and profiles."""
    folder = tmp_path / "infra/profiles"
    folder.mkdir(parents=True)
    for path in (ROOT / "infra/profiles").glob("*.yaml"):
        (folder / path.name).write_bytes(path.read_bytes())
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _comments(text: str) -> list[str]:
    return re.findall(r"(?:^|\s)(# .*)$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_gives_valid_params_and_keeps_every_comment(project, name):
    before = _comments((project / "params.yaml").read_text(encoding="utf-8"))
    assert command_line.main(["profile", name]) == 0
    after = (project / "params.yaml").read_text(encoding="utf-8")
    params_module.parse(after, "params.yaml")
    assert [comment for comment in before if comment not in _comments(after)] == []


@pytest.mark.parametrize("name", PROFILES)
def test_a_dry_run_prints_short_lines_and_writes_nothing(project, capsys, name):
    before = (project / "params.yaml").read_bytes()
    assert command_line.main(["profile", name, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (project / "params.yaml").read_bytes() == before
    assert max(map(len, lines)) <= 120 and lines[-1].endswith("would change in params.yaml")


def test_laying_a_profile_twice_changes_nothing_the_second_time(project, capsys):
    command_line.main(["profile", "pterosaurs"])
    once = (project / "params.yaml").read_bytes()
    capsys.readouterr()
    assert command_line.main(["profile", "pterosaurs"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "profile pterosaurs: 0 values changed in params.yaml"
    assert (project / "params.yaml").read_bytes() == once


def test_profiles_that_extend_each_other_are_refused_in_one_sentence(project, capsys):
    (project / "infra/profiles/left.yaml").write_text("extends: right\nseed: 1\n")
    (project / "infra/profiles/right.yaml").write_text("extends: left\nseed: 2\n")
    assert command_line.main(["profile", "left"]) == 1
    error = capsys.readouterr().err
    assert "left and right" in error and "extend each other" in error and error.count("\n") == 1


def test_the_pterosaurs_are_on_a_real_base_with_sources_on_the_web(project):
    command_line.main(["profile", "pterosaurs"])
    params = params_module.load(project / "params.yaml")
    assert params.base.path == "base_models/sd15" and "skeleton" in params.sample.negative_prompt
    for species in params.species.values():
        assert {source.kind for source in species.sources} == {"commons", "openverse", "gbif", "phylopic"}
        assert species.taxon.pbdb and species.taxon.clade[1] == "Pterosauria"


@pytest.mark.parametrize("key", ["sinomacrops", "dimorphodontidae", "ornithocheiromorpha"])
def test_the_pterosaurs_are_collected_from_the_recorded_responses(project, monkeypatch, key):
    command_line.main(["profile", "pterosaurs"])
    params, paths = _quick(project), Paths(project, key)
    with replay(_recorded_web()) as server:
        monkeypatch.setenv(REPLAY, server.url)
        report = stage.collect(params, paths)
    rows = pd.read_parquet(paths.raw / "manifest.parquet")
    assert set(rows["source"].str.split(":").str[0]) == {"commons", "openverse", "gbif", "phylopic"}
    assert {seen.query["name"] for seen in server.seen if seen.place == MATCH} == {
        source.name for source in params.species[key].sources if source.kind == "gbif"
    }
    kept = rows[rows["kept"]]
    assert len(kept) >= 10 and not kept["licence"].str.contains("NC|ND").any() and kept["licence"].all()
    assert not [line for line in report.lines if line.startswith("skipped")], report.lines


def test_a_source_that_has_nothing_of_the_name_is_named_and_the_others_go_on(project, monkeypatch):
    command_line.main(["profile", "pterosaurs"])
    params, routes = _quick(project), _recorded_web()
    routes[MATCH] = recorded("gbif/v1_species_match_name_Aso_strict_false_verbose_false_limit_100.json")
    with replay(routes) as server:
        monkeypatch.setenv(REPLAY, server.url)
        report = stage.collect(params, Paths(project, "sinomacrops"))
    assert any("api.gbif.org has no taxon 'Sinomacrops bondei'" in line for line in report.lines), report.lines


def _quick(project: Path) -> params_module.Params:
    """Params with a contact, and with no rate that a test would wait for."""
    hosts = params_module.load(project / "params.yaml").collect.hosts
    collect = {
        "contact": "test@example.org",
        "hosts": dict.fromkeys(hosts, {"connections": 4, "requests_per_second": 1000}),
        "download": {"attempts": 1},
    }
    edit_params(project, {"collect": collect})
    return params_module.load(project / "params.yaml")


def _recorded_web() -> dict:
    """The recorded responses of the four services, whatever they are of; a drawn picture for every address in them."""
    batch, found, occurrences, head, silhouette = (
        recorded(name).read_text(encoding="utf-8")
        for name in (
            "wikimedia_commons/allimages_other_batch.json",
            "openverse/images_q_birds__b.json",
            "gbif/v1_occurrence_search_taxonKey_3329049_limit_300_offset_0.json",
            "phylopic/initial_request.json",
            "phylopic/sample_record.json",
        )
    )
    addresses = re.findall(r'"https?://([^"\s?]+)"', batch + found + occurrences + silhouette)
    pictures = {address: encoded(scene(n), "JPEG") for n, address in enumerate(sorted(set(addresses)))}
    return pictures | {
        "commons.wikimedia.org/w/api.php": json.loads(batch) | {"continue": {}},
        "api.openverse.org/v1/images/": json.loads(found) | {"page_count": 1},
        MATCH: _matched,
        "api.gbif.org/v1/occurrence/search": json.loads(occurrences) | {"endOfRecords": True},
        "api.phylopic.org/images": json.loads(head) | {"totalPages": 1},
        "api.phylopic.org/nodes": json.loads(head) | {"totalPages": 1},
        "api.phylopic.org/images?page=0": _page(json.loads(silhouette)),
        "api.phylopic.org/nodes?page=0": _named,
    }


def _matched(exchange: Exchange) -> None:
    """The recorded match, with the name that was requested in the place of its own."""
    match = json.loads(
        recorded("gbif/v1_species_match_name_Helianthus_annuus_strict_false_verbose_false_limit_100.json").read_text()
    )
    _send(exchange, match | {"canonicalName": exchange.seen.query["name"]})


def _named(exchange: Exchange) -> None:
    """A page of nodes with one that has the requested name; none was recorded."""
    name = [{"class": "scientific", "text": exchange.seen.query["filter_name"].capitalize()}]
    _send(exchange, _page({"uuid": CLADE, "names": [name], "build": 194}))


def _page(item: dict) -> dict:
    return {"build": 194, "index": 0, "_links": {}, "_embedded": {"items": [item]}}


def _send(exchange: Exchange, value: dict) -> None:
    body = json.dumps(value).encode()
    exchange.head(200, ("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    exchange.wfile.write(body)
