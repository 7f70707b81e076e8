"""A newcomer's path, literally as the README has it, with real Prefect, DVC, MLflow, Great Expectations and Accelerate.

Reduced are the params, in the clone before `make demo`, and the installation: `.venv` is that of these tests.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import interrupted_runs
from benchmarks.interrupted_runs import Outcome
from tests.flows.mini_project import PATIENCE
from tests.pictures import scene
from tests.project import QUICK, ROOT, clone, edit_params, environment, paleo

CATS = ROOT.parent / "shared/data/dreambooth/cat"
PREDICT = """
import mlflow
model = mlflow.pyfunc.load_model("models:/{species}@champion")
asked = {{"prompt": ["{{name}}", "a bird"], "seed": [1, 2]}}
first, second = model.predict(asked), model.predict(asked)
assert first == second and len(first) == 2 and all(png[:4] == b"\\x89PNG" for png in first), first
"""


def _commands() -> list[str]:
    """The code blocks of the README's section "Try it"."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## Try it\n")[1].split("\n## ")[0]
    return re.findall(r"^```\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)


def _shell(folder: Path, commands: str, project: Path) -> subprocess.CompletedProcess:
    """Run lines as a person types them into a shell; it ends at the first that fails."""
    return subprocess.run(
        ["bash", "-ec", commands],
        cwd=folder,
        env=environment(project),
        text=True,
        capture_output=True,
        timeout=280 * PATIENCE,
    )


def _reduce(folder: Path) -> None:
    """One species, few pictures and steps, and this installation in the place of a new one."""
    good = {"sources": [{"kind": "synthetic", "taxon": "sinomacrops", "good": 10, "clutter": 8}]}
    edit_params(folder, {**QUICK, "species": {"sinomacrops": good}}, ("dimorphodontidae", "ornithocheiromorpha"))
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(Path(sys.executable).parent)
    (folder / ".venv/installed").touch()


@pytest.fixture(scope="module")
def commands() -> dict[str, str]:
    """What the README says to type: to `clone`, for the `demo`, and for a model of one's `own` pictures."""
    first, own = _commands()
    lines = first.splitlines(keepends=True)
    assert lines[0].startswith("git clone ADDRESS ") and lines[1].startswith("cd ")
    return {"clone": lines[0], "folder": lines[1].split()[1], "demo": "".join(lines[2:]), "own": own}


@pytest.fixture(scope="module")
def project(tmp_path_factory, commands) -> Path:
    home = tmp_path_factory.mktemp("home")
    origin, folder = clone(home / "origin"), home / commands["folder"]
    cloned = _shell(home, commands["clone"].replace("ADDRESS", str(origin)), folder)
    assert cloned.returncode == 0, cloned.stderr
    _reduce(folder)
    return folder


@pytest.fixture(scope="module")
def run_and_outcome(project, commands) -> tuple[subprocess.CompletedProcess, Outcome | None]:
    done = _shell(project, commands["demo"], project)
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
    project, chance = clone(tmp_path / "project"), random.Random(1871)
    _reduce(project)
    moments = [
        ("curate@sinomacrops | run: ", "SIGKILL", chance.uniform(0, 5)),
        ("train@sinomacrops | run: ", "power cut", chance.uniform(0, 8)),
        ("gallery | completed: ", "SIGTERM", chance.uniform(0, 6)),
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


def test_a_folder_of_pictures_takes_the_same_way_to_a_file_for_other_programs(project, finished, commands):
    """Real photographs where they are, else drawn ones."""
    folder = project / "pictures/cats"
    if CATS.is_dir():
        shutil.copytree(CATS, folder)
    else:
        folder.mkdir(parents=True)
        for number in range(8):
            scene(number).save(folder / f"{number}.png")
    done = _shell(project, commands["own"], project)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert json.loads((project / ".work/release/cats.json").read_text())["version"] == 1
    assert (project / "site/cats/index.html").is_file()
    assert len(list((project / "generated").glob("cats-*.png"))) == 4
    assert list((project / "exports/single-file").glob("cats*/cats*.safetensors"))
