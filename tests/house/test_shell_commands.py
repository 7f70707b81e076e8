"""No text of params.yaml reaches a shell: whoever runs `dvc repro` on a pull request runs none of its words."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from pipeline.__main__ import main
from tests.project import ROOT, clone, edit_params, environment

HOSTILE = ("a'; touch pwned; '", 'a"; touch pwned; "', "$(touch pwned)", "`touch pwned`", "a\ntouch pwned")
SHIPPED = ("sinomacrops", "dimorphodontidae", "ornithocheiromorpha")
OUTSIDE = "../../pwned"
SPECIES = {
    "name": "A",
    "class_noun": "a",
    "sources": [{"kind": "synthetic", "taxon": "sinomacrops", "good": 1, "clutter": 0}],
}


def project_with(folder, keys):
    clone(folder)
    edit_params(folder, {"species": dict.fromkeys(keys, SPECIES)}, SHIPPED)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--force"], cwd=folder, check=True)
    return folder


def dvc_repro(folder):
    command = [sys.executable, "-m", "dvc", "repro", "--keep-going"]
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)


def files(folder) -> set[str]:
    """All but git's and DVC's own, and what Python compiled."""
    found = (path.relative_to(folder.parent) for path in folder.parent.rglob("*"))
    return {str(path) for path in found if not {".git", ".dvc", ".work", "__pycache__"} & set(path.parts)}


def test_dvc_runs_no_code_from_a_species_key_and_writes_nothing_for_it(tmp_path):
    project = project_with(tmp_path / "project", HOSTILE[:3:2])
    before = files(project)
    done = dvc_repro(project)
    assert done.returncode and "Running stage 'collect@$(touch pwned)'" in done.stdout
    assert "paleo collect: params.yaml: species." in done.stderr
    assert files(project) == before


def test_a_key_that_is_a_path_writes_nothing(tmp_path):
    """DVC itself refuses the second folder of this name before it runs anything."""
    project = project_with(tmp_path / "project", [OUTSIDE])
    before = files(project)
    assert dvc_repro(project).returncode
    assert files(project) == before


@pytest.mark.parametrize("key", [*HOSTILE, OUTSIDE])
@pytest.mark.parametrize("command", ["collect", "train"])
def test_a_stage_refuses_what_is_no_key(monkeypatch, capsys, command, key):
    monkeypatch.chdir(ROOT)
    assert main([command, key]) == 1
    given = capsys.readouterr().err
    assert given.startswith(f"paleo {command}: no species ") and given.count("\n") == 1
    monkeypatch.setenv("DVC_STAGE", f"../dvc.yaml:{command}@{key}")
    assert main([command]) == 1
    assert capsys.readouterr().err == given


def test_no_command_of_dvc_yaml_holds_a_value_of_params():
    for name, stanza in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].items():
        commands = stanza.get("do", stanza)["cmd"]
        for command in commands if isinstance(commands, list) else [commands]:
            interpolated = re.findall(r"(?<!\\)\$\{[^}]*\}", command)  # `\${…}` is the shell's own
            assert not interpolated, f"{name}: DVC puts {interpolated} into a shell; the command finds it itself"


def test_a_stage_runs_for_the_species_of_its_name_from_whatever_folder_dvc_was_called(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DVC_STAGE", "../dvc.yaml:curate@sinomacrops")
    assert main(["curate", "--dry-run"]) == 0 and "Sinomacrops bondei" in capsys.readouterr().out
    monkeypatch.setenv("DVC_STAGE", "train@sinomacrops")
    assert main(["curate"]) == 1
    assert capsys.readouterr().err == (
        "paleo curate: DVC_STAGE is 'train@sinomacrops', which is no curate@SPECIES; name a species of params.yaml\n"
    )
    monkeypatch.delenv("DVC_STAGE")
    assert main(["curate"]) == 2 and "Missing argument 'SPECIES'" in capsys.readouterr().err
