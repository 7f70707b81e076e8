"""`paleo species add | list | show` in a project of its own, against a server that stands for the authorities."""

from __future__ import annotations

import difflib
import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline import __main__ as command_line
from pipeline.core import params as params_module
from pipeline.io.web.client import REPLAY
from pipeline.taxonomy import authorities
from tests.project import ROOT, edit_params, paleo
from tests.replay import replay, status
from tests.taxonomy.recorded import LADDER, SINOMACROPS, chain, gbif_match, pbdb_record

TAXA = "paleobiodb.org/data1.2/taxa"
SPECIES = "api.gbif.org/v1/species"
EMPTY = {"elapsed_time": 0.001, "records": []}
PTERANODON = pbdb_record(
    52932,
    "Pteranodon longiceps",
    "species",
    firstapp_max_ma=86.3,
    lastapp_min_ma=83.5,
    family="NO_FAMILY_SPECIFIED",
    genus="Pteranodon",
)
KNOWN = {
    f"{TAXA}/list.json": EMPTY,
    f"{TAXA}/list.json?match_name=Pteranodon longiceps": {"records": [PTERANODON]},
    f"{TAXA}/list.json?rel=all_parents": {"records": [*chain(last=438189), {**PTERANODON, "parent_no": "438189"}]},
    f"{TAXA}/list.json?rel=synonyms": {"records": [PTERANODON, pbdb_record(2, "Ornithostoma longiceps", "species")]},
    f"{SPECIES}/match": {"confidence": 100, "matchType": "NONE", "synonym": False},
    f"{SPECIES}/match?name=Pteranodon longiceps": gbif_match(9165236, "Pteranodon longiceps"),
    f"{SPECIES}/9165236/synonyms": {"offset": 0, "endOfRecords": True, "results": []},
    "api.inaturalist.org/v1/taxa": {"total_results": 0, "results": []},
}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with the project's params.yaml, a contact in it, and no limit that a test would wait for."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace('contact: "" ', "contact: test@example.org ")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    hosts = dict.fromkeys(("default", *authorities.HOSTS), {"connections": 2, "requests_per_second": 1000})
    edit_params(tmp_path, {"collect": {"hosts": hosts}})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def authority_server(routes: dict | None = None):
    """The server, while the environment names it as the one that stands for every host."""
    with replay({**KNOWN, **(routes or {})}) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv(REPLAY, server.url)
        yield server


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = command_line.main(["species", *words])
    return code, *capsys.readouterr()


def test_add_from_the_shell_writes_an_entry_and_no_other_byte(project):
    with authority_server() as server:
        before = (project / "params.yaml").read_text(encoding="utf-8")
        done = paleo(project, "species", "add", "Pteranodon longiceps", PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    after = (project / "params.yaml").read_text(encoding="utf-8")
    steps = [step for step in difflib.ndiff(before.splitlines(), after.splitlines()) if step[0] in "+-?"]
    assert steps and all(step.startswith("+ ") for step in steps)
    species = params_module.parse(after, "test").species["pteranodon"]
    assert (species.name, species.class_noun) == ("Pteranodon longiceps", "flying reptile")
    assert (species.taxon.pbdb, species.taxon.gbif) == (52932, 9165236)
    assert species.taxon.clade == LADDER[1:] and species.taxon.interval_ma == (86.3, 83.5)
    assert species.taxon.synonyms == ("Ornithostoma longiceps",)
    output = done.stdout.splitlines()
    assert output[0] == "PBDB: Pteranodon longiceps, species, 86.3–83.5 Ma, txn:52932"
    assert output[1] == "GBIF: Pteranodon longiceps, species, key 9165236 (EXACT, confidence 99)"
    assert output[-1].startswith("added to params.yaml")
    assert {seen.host for seen in server.seen} == {"paleobiodb.org", "api.gbif.org", "api.inaturalist.org"}
    assert all("test@example.org" in seen.headers["user-agent"] for seen in server.seen)


def test_the_same_taxon_twice_is_there_already(project, capsys):
    with authority_server() as server:
        assert run(capsys, "add", "Pteranodon longiceps")[0] == 0
        text, requests = (project / "params.yaml").read_bytes(), len(server.seen)
        code, _, error = run(capsys, "add", "pteranodon  longiceps")
    assert code == 1 and "is in params.yaml already, as 'pteranodon'" in error and "--key" in error
    assert (project / "params.yaml").read_bytes() == text
    assert len(server.seen) == requests, "nothing is requested for it"


def test_the_same_taxon_under_another_name_is_there_already(project, capsys):
    junior = pbdb_record(
        7,
        "Ornithostoma ingens",
        "species",
        difference="subjective synonym of",
        accepted_no="52932",
        accepted_name="Pteranodon longiceps",
    )
    routes = {
        f"{TAXA}/list.json?match_name=Ornithostoma ingens": {"records": [junior]},
        f"{TAXA}/single.json?id=txn:52932": {"records": [PTERANODON]},
    }
    with authority_server(routes):
        run(capsys, "add", "Pteranodon longiceps")
        code, _, error = run(capsys, "add", "Ornithostoma ingens")
        assert code == 1 and "'Ornithostoma ingens' is in params.yaml already, as 'pteranodon'" in error
        code, output, _ = run(capsys, "add", "Ornithostoma ingens", "--key", "ingens", "--class-noun", "pterosaur")
    assert code == 0
    assert (
        "not an accepted name in the Paleobiology Database (subjective synonym of); used Pteranodon longiceps" in output
    )
    species = params_module.load(project / "params.yaml").species["ingens"]
    assert (species.name, species.taxon.accepted) == ("Ornithostoma ingens", "Pteranodon longiceps")
    assert species.class_noun == "pterosaur"


def test_a_key_that_is_taken_is_an_error_that_suggests_another(project, capsys):
    sternbergi = pbdb_record(161805, "Pteranodon sternbergi", "species")
    with authority_server({f"{TAXA}/list.json?match_name=Pteranodon sternbergi": {"records": [sternbergi]}}):
        run(capsys, "add", "Pteranodon longiceps")
        code, _, error = run(capsys, "add", "Pteranodon sternbergi")
        assert code == 1 and "has a species 'pteranodon' already (Pteranodon longiceps)" in error
        assert "--key pteranodon-sternbergi" in error
        assert run(capsys, "add", "Pteranodon sternbergi", "--key", "pteranodon")[0] == 1
        assert run(capsys, "add", "Pteranodon sternbergi", "--key", "pteranodon-sternbergi")[0] == 0
    assert "pteranodon-sternbergi" in params_module.load(project / "params.yaml").species


def test_a_dry_run_prints_the_entry_and_writes_nothing(project, capsys):
    with authority_server():
        text = (project / "params.yaml").read_bytes()
        code, output, _ = run(capsys, "add", "Pteranodon longiceps", "--dry-run")
    assert code == 0
    assert "      - {kind: commons, category: Pteranodon}" in output
    assert output.endswith("dry run: nothing was written\n")
    assert (project / "params.yaml").read_bytes() == text


def test_a_dry_run_reports_what_is_there_too(project, capsys):
    with authority_server({f"{TAXA}/list.json?match_name=Sinomacrops bondei": {"records": [SINOMACROPS]}}):
        code, output, _ = run(capsys, "add", "Sinomacrops bondei", "--dry-run")
    assert code == 0
    assert "  sinomacrops-bondei:\n" in output and "is in params.yaml already, as 'sinomacrops'" in output


@pytest.mark.parametrize(
    ("name", "routes", "output"),
    [
        ("Nonsensia absurda", {}, "no authority has 'Nonsensia absurda'"),
        (
            "Sinomacrops imaginarius",
            {f"{SPECIES}/match": gbif_match(5, "Anurognathidae", "FAMILY", matchType="HIGHERRANK")},
            "the nearest it has is Anurognathidae, family (HIGHERRANK)",
        ),
        (
            "Pteranodon longicepts",
            {f"{SPECIES}/match": gbif_match(5, "Pteranodon longiceps", matchType="FUZZY")},
            "did you mean 'Pteranodon longiceps'",
        ),
        (
            "Ficus",
            {
                f"{TAXA}/list.json": {
                    "records": [pbdb_record(1, "Ficus", "genus"), pbdb_record(2, "Ficus", "genus", phylum="Mollusca")]
                }
            },
            "'Ficus' is the name of several taxa; choose one:",
        ),
        ("T. rex", {}, "'T. rex' is no name of a taxon"),
        (
            "Pteranodon",
            {
                f"{TAXA}/list.json": status(400, b'{"status_code":400,"errors":["bad name"]}'),
                f"{SPECIES}/match": "<html>Service unavailable</html>",
            },
            "no authority gave a usable response for 'Pteranodon'",
        ),
    ],
)
def test_what_cannot_be_added_is_an_error_and_nothing_is_written(project, capsys, name, routes, output):
    with authority_server(routes):
        text = (project / "params.yaml").read_bytes()
        code, _, error = run(capsys, "add", name)
    assert code == 1
    assert error.startswith("paleo species: ") and output in error
    assert (project / "params.yaml").read_bytes() == text


def test_a_bad_response_of_one_authority_is_reported_and_the_other_is_used(project, capsys):
    page = "<html>maintenance</html>"
    with authority_server({f"{TAXA}/list.json?match_name=Pteranodon longiceps": page}):
        code, output, _ = run(capsys, "add", "Pteranodon longiceps")
    assert code == 0
    assert output.startswith("PBDB: no usable response (")
    assert "# known to GBIF only; no usable response from the Paleobiology Database" in output


def test_without_a_contact_nothing_is_requested(project, capsys):
    with authority_server() as server:
        path = project / "params.yaml"
        path.write_text(path.read_text(encoding="utf-8").replace("contact: test@example.org", 'contact: ""'), "utf-8")
        code, _, error = run(capsys, "add", "Pteranodon longiceps")
    assert code == 1 and "contact" in error
    assert error.count("\n") == 1 and server.seen == []


def test_a_key_that_cannot_be_one_is_refused(project, capsys):
    with authority_server():
        code, _, error = run(capsys, "add", "Pteranodon longiceps", "--key", "My Key")
    assert code == 1 and "My Key" in error


def test_list_and_show_what_is_there(project, capsys):
    with authority_server():
        run(capsys, "add", "Pteranodon longiceps")
    card = {
        "stage": "collect",
        "species": "pteranodon",
        "digest": "d",
        "n_candidates": 12,
        "n_kept": 9,
        "by_reason": {"licence_unknown": 2, "licence_refused": 1},
    }
    (project / "data/raw/pteranodon").mkdir(parents=True)
    (project / "data/raw/pteranodon/card.json").write_text(json.dumps(card))
    code, output, _ = run(capsys, "list")
    head, *rows = output.splitlines()
    assert code == 0 and head.split("  ")[0] == "key"
    row = next(row for row in rows if row.startswith("pteranodon "))
    for cell in ("Pteranodon longiceps", "species", "86.3–83.5", "9 kept of 12"):
        assert cell in row
    assert "not collected" in next(row for row in rows if row.startswith("sinomacrops "))
    assert rows[-1].startswith("licences accepted: CC0-1.0, PDM-1.0, ")
    code, output, _ = run(capsys, "show", "pteranodon")
    assert code == 0
    assert f"clade:        {' > '.join(LADDER[1:])}" in output
    assert "accepted:     Pteranodon longiceps (species)" in output
    assert "age:          86.3–83.5 Ma" in output
    assert "https://www.gbif.org/species/9165236" in output
    assert "  commons: category 'Pteranodon', depth 2, limit 500" in output
    assert "not kept:     1 licence_refused, 2 licence_unknown" in output


def test_show_of_a_species_that_was_never_looked_up(project, capsys):
    code, output, _ = run(capsys, "show", "sinomacrops")
    assert code == 0 and "taxon:        not looked up" in output and "collected:    not collected" in output


def test_show_of_an_unknown_species_names_the_nearest(project, capsys):
    code, _, error = run(capsys, "show", "sinomacrop")
    assert code == 1 and "did you mean 'sinomacrops'" in error


def test_a_record_of_the_real_export_becomes_the_entry(project, capsys):
    routes = {f"{TAXA}/list.json?match_name=Sinomacrops bondei": {"records": [SINOMACROPS]}}
    with authority_server(routes):
        code, output, _ = run(capsys, "add", "Sinomacrops bondei", "--key", "sinomacrops-web")
    assert code == 0
    assert "interval_ma: [165.3, 154.8]" in output and "known to the Paleobiology Database only" in output
