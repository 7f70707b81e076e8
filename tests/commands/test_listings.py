"""What every command has: `--version`, `--quiet`, and `--json` where it lists something."""

from __future__ import annotations

import json
import tomllib
from types import SimpleNamespace

import pytest

import pipeline.__main__ as command_line
from pipeline.commands.parsers import stages
from pipeline.core import verbosity
from pipeline.core.records import Report
from tests.project import ROOT
from tests.test_command_line import COMMANDS, IN_FLOWS, run

LISTING = [  # every command that lists something without having to be run in a finished project
    ("species", "list"),
    ("species", "show", "sinomacrops"),
    ("params",),
    ("params", "train"),
    ("params", "train.steps"),
]


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(ROOT)
    yield
    verbosity.set_quiet(False)


@pytest.fixture
def stage(monkeypatch):
    """A stage with a summary and a warning."""
    report = Report("collect", ("40 kept of 60", "warning: 2 vanished"))
    monkeypatch.setattr(stages, "import_module", lambda _: SimpleNamespace(collect=lambda *_: report))


def test_the_version_is_that_of_the_distribution(capsys):
    assert command_line.main(["--version"]) == 0
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert capsys.readouterr().out == f"paleoforge {version}\n"


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["-q", "collect", "sinomacrops"], ""),
        (["--quiet", "collect", "sinomacrops"], ""),
        (["collect", "sinomacrops", "--quiet"], ""),
        (["collect", "-q", "sinomacrops"], ""),
        (["collect", "sinomacrops"], "1"),
    ],
)
def test_quiet_leaves_the_warnings_of_a_summary(stage, capsys, monkeypatch, words, environment):
    monkeypatch.setenv(verbosity.QUIET_VARIABLE, environment)
    assert command_line.main(words) == 0
    assert capsys.readouterr().out == "warning: 2 vanished\n"


def test_quiet_holds_for_one_command_only(stage, capsys):
    command_line.main(["-q", "collect", "sinomacrops"])
    command_line.main(["collect", "sinomacrops"])
    assert capsys.readouterr().out == "warning: 2 vanished\n40 kept of 60\nwarning: 2 vanished\n"


@pytest.mark.parametrize("words", [("species", "list"), ("params", "train.steps"), ("gallery", "--dry-run")])
def test_quiet_leaves_what_was_asked_for(capsys, words):
    command_line.main([*words])
    loud = capsys.readouterr().out
    command_line.main([*words, "--quiet"])
    assert capsys.readouterr().out == loud and loud


def test_quiet_leaves_the_sentence_of_a_mistake(capsys):
    assert command_line.main(["-q", "collect", "sinomacrop"]) == 1
    assert capsys.readouterr().err.startswith("paleo collect: no species 'sinomacrop'")


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] not in IN_FLOWS], ids=" ".join)
def test_every_command_has_quiet(words, capsys):
    command_line.main([*words, "--help"])
    is_group = "COMMAND [ARGS]..." in (text := capsys.readouterr().out)
    assert is_group or "-q, --quiet" in text


@pytest.mark.parametrize("words", LISTING, ids=" ".join)
def test_a_listing_is_json_for_programs(capsys, words):
    assert command_line.main([*words, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) and not printed.err


def test_the_json_of_a_species_has_its_sources_and_of_a_param_its_default(capsys):
    command_line.main(["species", "show", "sinomacrops", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["key"] == "sinomacrops" and shown["sources"][0]["kind"] == "synthetic" and shown["collected"] is None
    command_line.main(["params", "train.steps", "--json"])
    assert json.loads(capsys.readouterr().out)["train.steps"] == {
        "value": 500,
        "default": 500,
        "written": True,
        "doc": "",
    }


def test_json_has_no_species_that_is_not_there(capsys):
    assert command_line.main(["species", "show", "sinomacrop", "--json"]) == 1
    printed = capsys.readouterr()
    assert not printed.out and "did you mean 'sinomacrops'?" in printed.err


def test_a_flag_nearly_right_names_the_right_one_in_flows_too():
    done = run("plan", "--quite")
    assert done.returncode == 2 and "No such option '--quite'. Did you mean '--quiet'?" in done.stderr
