"""The whole pipeline with real Prefect, DVC, MLflow, Great Expectations and Accelerate in a temporary clone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import interrupted_runs
from benchmarks.interrupted_runs import Outcome
from tests.project import QUICK, ROOT, clone, edit_params, environment, paleo

DOG = ROOT.parent / "shared/data/dreambooth/dog"
PREDICT = """
import mlflow
model = mlflow.pyfunc.load_model("models:/{species}@champion")
asked = {{"prompt": ["{{name}}", "a bird"], "seed": [1, 2]}}
first, second = model.predict(asked), model.predict(asked)
assert first == second and len(first) == 2 and all(png[:4] == b"\\x89PNG" for png in first), first
"""


def _small(folder: Path) -> Path:
    clone(folder)
    good = {"sources": [{"kind": "synthetic", "taxon": "sinomacrops", "good": 10, "clutter": 8}]}
    edit_params(folder, {**QUICK, "species": {"sinomacrops": good}}, ("dimorphodontidae", "ornithocheiromorpha"))
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return _small(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def run_and_outcome(project) -> tuple[subprocess.CompletedProcess, Outcome | None]:
    done = paleo(project, "run", timeout_seconds=600)
    return done, None if done.returncode else interrupted_runs.outcome(project)


@pytest.fixture(scope="module")
def finished(run_and_outcome) -> subprocess.CompletedProcess:
    return run_and_outcome[0]


def _dvc(project: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, env=environment(project), timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_command_ends_with_a_registered_model_and_a_gallery(project, finished):
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-4000:]
    assert (project / "site/index.html").is_file()
    assert (project / "site/sinomacrops/index.html").is_file()
    assert "sinomacrops" in finished.stdout
    assert json.loads((project / "reports/evaluation/sinomacrops/metrics.json").read_text())["chosen_step"] in (2, 4)


def test_dvc_agrees_that_nothing_is_left_to_do(project, finished):
    assert "up to date" in _dvc(project, "status")
    assert "chosen_step" in _dvc(project, "metrics", "show")
    assert "train" in _dvc(project, "dag")
    plots = json.loads(_dvc(project, "plots", "show", "--json"))["data"]
    assert all(
        row["species"] == "sinomacrops" for plot in plots.values() for row in plot[0]["content"]["data"]["values"]
    )
    assert len(plots["training loss"][0]["content"]["data"]["values"]) == 4


def test_the_second_run_does_nothing_and_makes_no_new_version(project, finished):
    before = (project / "dvc.lock").read_bytes()
    again = paleo(project, "run")
    assert again.returncode == 0, again.stderr
    assert (project / "dvc.lock").read_bytes() == before
    assert "version 2" not in again.stdout


@pytest.mark.timeout(900)  # a minute, but two whole runs where cores are busy
def test_a_run_that_is_stopped_three_times_ends_as_one_that_was_not(run_and_outcome, tmp_path):
    """At random moments of the data stages, the training and the release; `python -m benchmarks` does it 20 times."""
    project, chance = _small(tmp_path / "project"), random.Random()
    moments = [
        ("curate@sinomacrops | Running", "SIGKILL", chance.uniform(0, 5)),
        ("train@sinomacrops | Running", "power cut", chance.uniform(0, 8)),
        ("gallery | Finished", "SIGTERM", chance.uniform(0, 6)),
    ]
    stopped = [interrupted_runs.stopped_run(project, seconds, how, when=when) for when, how, seconds in moments]
    last = paleo(project, "run", timeout_seconds=600)
    assert last.returncode == 0, (moments, last.stderr[-3000:])
    assert any(stopped), "no run was stopped"
    assert not interrupted_runs.differences(run_and_outcome[1], interrupted_runs.outcome(project)), moments
    assert not interrupted_runs.processes_in(project)


def test_the_commands_at_the_end_of_a_run_work_as_printed(project, finished):
    lines = finished.stdout.splitlines()
    commands = [following for line, following in zip(lines, lines[1:]) if line.startswith("# ")]
    assert [" ".join(command.split()[:2]) for command in commands] == [
        *("paleo generate", "paleo export", "paleo up", "dvc plots", "git add")
    ]
    people = {f"GIT_{role}_{key}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    for command in commands:
        tried = f"{command} --help" if command == "paleo up" else command  # it would run until Ctrl-C
        done = subprocess.run(
            tried, shell=True, cwd=project, env={**environment(project), **people}, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert list((project / "generated").glob("*.png")) and list((project / "exports").glob("diffusers/*/README.md"))
    assert subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True).stdout == ""


def test_the_champion_loads_and_repeats_itself(project, finished):
    store = {**environment(project), "MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"}
    command = [sys.executable, "-c", PREDICT.format(species="sinomacrops")]
    done = subprocess.run(command, cwd=project, text=True, capture_output=True, env=store)
    assert done.returncode == 0, done.stderr[-3000:]


def test_generate_draws_with_the_champion(project, finished):
    done = paleo(project, "generate", "sinomacrops", "{name} at sea", "--steps", "2", "-n", "2", "--out", "drawn")
    assert done.returncode == 0, done.stderr
    assert len(list((project / "drawn").glob("*.png"))) == 2


@pytest.mark.skipif(not DOG.is_dir(), reason="the real photographs (shared/data/dreambooth/dog) are not here")
def test_real_photographs_take_the_same_way(project, finished):
    told = {"licence": "CC-BY-4.0", "author": "DreamBooth authors", "trusted": True}
    source = {"kind": "folder", "path": str(DOG), **told}
    edit_params(project, {"species": {"dog": {"name": "Canis familiaris", "class_noun": "dog", "sources": [source]}}})
    done = paleo(project, "run", "dog")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert json.loads((project / ".work/release/dog.json").read_text())["version"] == 1
    assert (project / "site/dog/index.html").is_file()
