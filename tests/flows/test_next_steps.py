from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from flows import next_steps
from tests.project import ROOT, environment, git


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_programs_are_printed_as_one_types_them_in_a_shell_without_the_environment(here):
    (here / ".venv").symlink_to(sys.prefix)
    plain = {**environment(ROOT), "PATH": "/usr/bin:/bin"}
    script = "from flows import next_steps; print(next_steps.program('paleo'))"
    command = [".venv/bin/python", "-c", script]
    printed = subprocess.run(command, env=plain, capture_output=True, text=True, check=True).stdout.strip()
    assert printed == ".venv/bin/paleo"
    assert subprocess.run(f"{printed} --help", shell=True, env=plain, capture_output=True).returncode == 0
    activated = {**plain, "PATH": f"{here}/.venv/bin:/usr/bin:/bin"}
    assert subprocess.run(command, env=activated, capture_output=True, text=True).stdout.strip() == "paleo"


def test_what_to_commit_is_what_git_keeps_and_does_not_have_yet(here):
    assert next_steps.to_commit() == [], "no repository"
    git(here, "init", "-q")
    (here / ".gitignore").write_text("/reports/evaluation/*/details/\n")
    (here / "params.yaml").write_text("seed: 1\n")
    (here / "notes.txt").write_text("mine")
    git(here, "add", ".")
    git(here, "commit", "-qm", "start")
    assert next_steps.to_commit() == []
    (here / "reports/evaluation/dodo/details").mkdir(parents=True)
    (here / "reports/evaluation/dodo/details/card.json").write_text("{}")
    (here / "dvc.lock").write_text("stages:\n")
    (here / "notes.txt").write_text("yours")
    assert next_steps.to_commit() == ["dvc.lock"]
    (here / "reports/evaluation/dodo/metrics.json").write_text("{}")
    (here / "params.yaml").write_text("seed: 2\n")
    assert next_steps.to_commit() == ["dvc.lock", "params.yaml", "reports"]
    last, _ = list(next_steps.commands(""))[-1]
    assert last.startswith("git add dvc.lock params.yaml reports && git commit -m ")
    for command in last.split(" && "):
        git(here, *shlex.split(command)[1:])
    assert next_steps.to_commit() == []
