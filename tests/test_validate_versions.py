"""The stage in a DVC repository: what a version is compared with survives runs, and comes along with a clone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.core.paths import Paths
from tests import project, site_fixture
from tests import validation_fixture as world

KEY = "sinomacrops"
PARAMS = site_fixture.params()


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """The real stanza of the stage without the code among its deps, as a git and DVC repository."""
    folder = tmp_path_factory.mktemp("versions") / "project"
    folder.mkdir()
    for name in ("params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(project.ROOT / name, folder / name)
    tiny = str(project.ROOT / "pipeline/assets/tiny")
    project.edit_params(folder, {"base": {"path": tiny, "clip": tiny}})
    stanza = YAML(typ="safe").load(project.ROOT / "dvc.yaml")["stages"]["validate"]
    stanza["do"]["deps"] = [dep for dep in stanza["do"]["deps"] if dep.startswith("data/")]
    YAML().dump(
        {"stages": {"validate": {**stanza, "foreach": [KEY], "do": _of_lists(stanza["do"])}}}, folder / "dvc.yaml"
    )
    world.write(PARAMS, Paths(folder, KEY), kept=40, held_out=5)
    project.git(folder, "init", "-q", "-b", "main")
    _dvc(folder, "init", "-q")
    _repro(folder)
    return folder


def _of_lists(stage: dict) -> dict:
    """`foreach` over a list names its entries ${item}, over a dict ${key}."""
    return json.loads(json.dumps(stage).replace("${key}", "${item}"))


def _dvc(folder: Path, *arguments: str) -> str:
    environment = project.environment(project.ROOT)
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _repro(folder: Path) -> dict:
    """Run what is stale, commit all; the verdict."""
    _dvc(folder, "repro")
    project.git(folder, "add", "-A")
    project.git(folder, "commit", "-q", "--allow-empty", "-m", "as it is")
    return json.loads((Paths(folder, KEY).validation / "verdict.json").read_text())


def test_versions_are_compared_across_runs_and_clones(repository, tmp_path):
    paths = Paths(repository, KEY)
    first = world.kept(paths)["sharpness"]
    before = json.loads(paths.statistics.read_text())
    assert before["previous"] is None
    world.new_version(paths, "b" * 64, sharpness=first * 10)
    verdict = _repro(repository)
    assert (verdict["warned"], verdict["previous_digest"]) == (["drift"], before["dataset_digest"])
    assert "up to date" in _dvc(repository, "status")
    tracked = project.git(repository, "ls-files", "reports/validation").split()
    assert tracked == [paths.statistics.relative_to(repository).as_posix()]

    clone = tmp_path / "clone"
    project.git(tmp_path, "clone", "-q", str(repository), str(clone))
    shutil.copytree(repository / "data", clone / "data")
    assert _repro(clone) == verdict
    assert project.git(clone, "log", "-1", "--format=", "--name-only").split() == []
