"""The command line itself: what every command has in common."""

from __future__ import annotations

import errno
import json

import pytest

import pipeline.__main__ as command_line
from tests.released_project import ROOT


@pytest.fixture
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    "words",
    [
        ("collect", "sinomacrops"),
        ("train", "sinomacrops"),
        ("gallery",),
        ("generate", "sinomacrops", "a bird", "--steps", "7"),
        ("pretrain", "--out", "somewhere"),
    ],
    ids=lambda words: words[0],
)
def test_a_dry_run_prints_the_settings_as_json_and_does_nothing(here, capsys, words):
    assert command_line.main([*words, "--dry-run"]) == 0
    told = capsys.readouterr().out
    settings, last = told.rsplit("dry run: ", 1)
    assert json.loads(settings)
    assert last == f"{words[0]} did nothing\n"


def test_a_dry_run_of_generate_shows_what_the_options_change(here, capsys):
    command_line.main(["generate", "sinomacrops", "a bird", "--steps", "7", "--dry-run"])
    assert json.loads(capsys.readouterr().out.rsplit("dry run: ", 1)[0])["sample"]["steps"] == 7


def test_a_full_disk_is_one_sentence(here, capsys, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device", "data/raw/x.png")

    monkeypatch.setattr(command_line, "_run_stage", full)
    assert command_line.main(["collect", "sinomacrops"]) == 1
    assert capsys.readouterr().err == (
        "paleo collect: No space left on device (data/raw/x.png); earlier results are as they were, "
        "mend it and run this again\n"
    )
    with pytest.raises(OSError):
        command_line.main(["collect", "sinomacrops", "--debug"])
