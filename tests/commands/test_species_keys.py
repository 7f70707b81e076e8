"""`paleo species remove | rename` in a DVC project in which every stage has a result."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import __main__ as command_line
from pipeline.core import params as params_module
from pipeline.core.stages import STAGES
from tests.project import clone, environment, git

KEY, OTHERS = "sinomacrops", ("dimorphodontidae", "ornithocheiromorpha")
OUTS = ("data/raw", "data/curated", "reports/curation", "reports/validation", "models", "samples")
READ = "import json, flows.graph as g;print(json.dumps({s.name: s.action for s in g.read().stages}))"


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """Every output is there and in dvc.lock; the stages themselves did not run."""
    folder = clone(tmp_path_factory.mktemp("species") / "project")
    for key in (KEY, *OTHERS):
        for out in OUTS:
            write(folder / out / key / "card.json", f'{{"of": "{out} {key}"}}')
        write(folder / f"reports/validation/{key}.statistics.json", "{}")
        write(folder / f"reports/evaluation/{key}/details/card.json", f'{{"of": "{key}"}}')
        write(folder / f"reports/evaluation/{key}/metrics.json", "{}")
    write(folder / "site/index.html", "pages")
    dvc(folder, "commit", "--force", "--quiet")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "results")
    return folder


@pytest.fixture
def species(capsys, monkeypatch):
    """`paleo species` in a project, without a terminal: exit code, standard output and error."""

    def run(folder: Path, *words: str) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        return command_line.main(["species", *words]), *capsys.readouterr()

    return run


@pytest.fixture
def project(template, tmp_path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "project", symlinks=True))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def dvc(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *words], cwd=folder, env=environment(folder), check=True)


def actions(folder: Path) -> dict[str, str]:
    """What `paleo run` would do with each stage."""
    command = [sys.executable, "-c", READ]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def files(folder: Path) -> dict[str, bytes]:
    below = ("data", "models", "samples", "reports", "site", "dvc.lock")
    found = [path for name in below for path in [folder / name, *(folder / name).rglob("*")] if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_a_removed_species_leaves_all_files_and_makes_no_training_stale(project, species):
    assert set(actions(project).values()) == {"cached"}
    before, text = files(project), (project / "params.yaml").read_text()
    code, out, err = species(project, "remove", KEY, "--yes")
    assert code == 0, err
    assert files(project) == before
    assert list(params_module.load(project / "params.yaml").species) == [*OTHERS]
    after = (project / "params.yaml").read_text()
    comments = [line[line.index("#") :] for line in text.splitlines() if "#" in line and "prompts" not in line]
    assert all(comment in after for comment in comments)
    stale = {name for name, action in actions(project).items() if action != "cached"}
    assert stale == {*(f"evaluate@{key}" for key in OTHERS), "gallery"}
    for said in (
        "models/sinomacrops",
        "6 entries in dvc.lock",
        "evaluate of the other 2 species",
        "git checkout -- par",
    ):
        assert said in out


def test_its_entry_is_printed_and_can_be_put_back(project, species):
    text = (project / "params.yaml").read_text()
    _, printed, _ = species(project, "remove", KEY, "--yes")
    entry = printed[printed.index(f"  {KEY}:\n") :]
    assert entry.strip() in text


def test_a_renamed_species_takes_its_collection_along_and_nothing_of_others_is_touched(project, species):
    write(project / "data/reviews" / f"{KEY}.csv", "sha256,verdict\n")
    others = {name: content for name, content in files(project).items() if KEY not in name}
    code, out, err = species(project, "rename", KEY, "bondei", "--yes")
    assert code == 0, err
    assert list(params_module.load(project / "params.yaml").species) == ["bondei", *OTHERS]
    assert {name: content for name, content in files(project).items() if name in others} == others
    assert (project / "data/raw/bondei/card.json").is_file() and not (project / f"data/raw/{KEY}").exists()
    assert (project / "reports/validation/bondei.statistics.json").is_file()
    assert (project / f"models/{KEY}/card.json").is_file()
    move = f"`git mv data/reviews/{KEY}.csv data/reviews/bondei.csv` takes it along"
    assert move in out and "models/sinomacrops" in out
    (project / f"data/reviews/{KEY}.csv").unlink()
    stale = {name for name, action in actions(project).items() if action != "cached"}
    assert stale == {f"{stage}@bondei" for stage in STAGES if stage != "gallery"} | {
        *(f"evaluate@{key}" for key in OTHERS),
        "gallery",
    }
    assert species(project, "rename", "bondei", KEY, "--yes")[0] == 0
    assert set(actions(project).values()) == {"cached"}, "and back again nothing has changed"


@pytest.mark.parametrize("words", [("remove", KEY), ("rename", KEY, "bondei")], ids=lambda words: words[0])
def test_a_dry_run_and_a_missing_confirmation_change_nothing(project, species, words):
    before, text = files(project), (project / "params.yaml").read_bytes()
    code, out, err = species(project, *words, "--dry-run")
    assert code == 0 and out.endswith("dry run: nothing was changed\n")
    assert "stays: " in out and "runs again: " in out
    code, out, err = species(project, *words)
    assert code == 1 and "add --yes to" in err and err.count("\n") == 1
    assert files(project) == before and (project / "params.yaml").read_bytes() == text


def test_no_entry_changes_while_a_run_works(project, species):
    (project / ".work").mkdir()
    with (project / ".work/run.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        code, out, err = species(project, "remove", KEY, "--yes")
    assert code == 1 and "a run works in this project" in err
    assert KEY in params_module.load(project / "params.yaml").species


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("remove", "sinomacrop"), "no species 'sinomacrop' in params.yaml; did you mean 'sinomacrops'?"),
        (("rename", KEY, "Bondei 2"), "'Bondei 2' is no key of a species"),
        (("rename", KEY, "../x"), "'../x' is no key of a species"),
        (("rename", KEY, OTHERS[0]), f"has a species '{OTHERS[0]}' already"),
        (("rename", KEY, "left"), "data/raw/left is there already"),
    ],
)
def test_a_mistake_is_one_sentence(template, species, words, sentence):
    (template / "data/raw/left").mkdir(exist_ok=True)
    code, out, err = species(template, *words, "--yes")
    assert code == 1 and sentence in err and err.count("\n") == 1


@pytest.mark.parametrize(("typed", "is_removed"), [(KEY, True), ("yes", False), ("", False)])
def test_on_a_terminal_the_key_is_typed(template, tmp_path, monkeypatch, typed, is_removed):
    (tmp_path / "params.yaml").write_bytes((template / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pipeline", "species", "remove", KEY]
    env = environment(template) | {"COLUMNS": "80"}
    child = subprocess.Popen(command, env=env, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    os.write(ours, f"{typed}\n".encode())
    output = child.communicate()[0].decode()
    os.close(ours)
    os.close(theirs)
    assert f"Type {KEY} to remove it" in output and "runs again: evaluate" in output
    assert (KEY not in params_module.load(tmp_path / "params.yaml").species) == is_removed, output
    assert child.returncode == (0 if is_removed else 1)
