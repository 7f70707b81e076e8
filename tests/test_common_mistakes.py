"""Twenty-five mistakes that people make: each is one sentence that says what was wrong and how to mend it.

A mistake is rated 0 to 2, as a reader would: one for what was wrong, one for what to do about it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.__main__ import main
from tests.project import clone, environment

DODO = """species:
  dodo:
    name: Raphus cucullatus
    class_noun: bird
    sources:
      - SOURCE
"""


class Mistake(NamedTuple):
    """`make` brings it about in a project, `command` runs into it; the sentence must have `what` and `mend` in it."""

    name: str
    make: Callable[[Path], object]
    command: str
    what: str
    mend: str


def edit(old: str, new: str) -> Callable[[Path], object]:
    """Something written wrongly in params.yaml."""

    def made(project: Path) -> None:
        text = (project / "params.yaml").read_text()
        assert old in text
        (project / "params.yaml").write_text(text.replace(old, new, 1))

    return made


def source(entry: str, *files: str) -> Callable[[Path], object]:
    """A species of one's own with this source, and what lies in its folder."""

    def made(project: Path) -> None:
        edit("species:", DODO.replace("SOURCE", entry).rstrip() + "\n  # species:")(project)
        for file in files:
            (project / file).parent.mkdir(parents=True, exist_ok=True)
            (project / file).write_text("no picture")

    return made


def cut_base(project: Path) -> None:
    shutil.copytree(project / "pipeline/assets/tiny", project / "cut")
    weights = project / "cut/unet/diffusion_pytorch_model.safetensors"
    os.truncate(weights, weights.stat().st_size - 100)
    edit("path: pipeline/assets/tiny", "path: cut")(project)


def nothing(_project: Path) -> None:
    """The command itself is the mistake."""


def outside(project: Path) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        (project / name).unlink()


def no_git(project: Path) -> None:
    (project / ".git").rename(project / "git-was-here")


FOLDER = "{kind: folder, path: pictures/dodo, licence: CC-BY-4.0}"
NOWHERE = "{kind: addresses, path: list.txt, licence: CC-BY-4.0}"
MISTAKES = [
    Mistake("key", edit("  steps: 500", "  stpes: 500"), "check", "'train.stpes'", "did you mean 'steps'"),
    Mistake("value", edit("method: dreambooth", "method: lroa"), "check", "train.method is 'lroa'", "mean 'lora'"),
    Mistake("kind", source(FOLDER.replace("folder", "foldr", 1)), "check", "kind is 'foldr'", "did you mean 'folder'"),
    Mistake("no number", edit("3.0e-4", "fast"), "check", "train.learning_rate is 'fast'", "it must be a number"),
    Mistake("infinite", edit("3.0e-4", ".inf"), "check", "train.learning_rate is inf", "it must be a finite number"),
    Mistake("sampler", edit("sampler: DDIM", "sampler: DDIMM"), "check", "sample.sampler: ", "did you mean 'DDIM'"),
    Mistake("placeholder", edit('"{name}"', '"{nmae}"'), "check", "{nmae}", "known are {name}, {class_noun}"),
    Mistake("old key", edit("  monitor:", "  look:"), "check", "'train.look'", "`paleo params --rewrite` renames"),
    Mistake("tab", edit("  steps: 500", "\tsteps: 500"), "check", "'steps: 500", "indent it with spaces"),
    Mistake("indentation", edit("  steps: 500", "    steps: 500"), "check", "'steps: 500", "align it with them"),
    Mistake("no colon", edit("  steps: 500", "  steps 500"), "check", "'steps 500", "write `key: value`"),
    Mistake("no folder", source(FOLDER), "check", "'pictures/dodo' is not there", "put pictures there or correct"),
    Mistake("texts only", source(FOLDER, "pictures/dodo/a.txt"), "check", "holds no picture", "put some there or"),
    Mistake("no pictures", source(FOLDER, "pictures/dodo/a.pdf"), "collect dodo", "a.pdf: ", "correct the sources"),
    Mistake(
        "licence",
        source(FOLDER.replace("BY", "BY-NC"), "pictures/dodo/a.jpg"),
        "check",
        "'CC-BY-NC-4.0'",
        "correct it, or add it",
    ),
    Mistake("no base", edit("path: pipeline/a", "path: a"), "check", "'assets/tiny' is not there", "mend `base:`"),
    Mistake("base cut short", cut_base, "check", "'cut/unet/diffusion_pytorch_model.", "download it again"),
    Mistake("no output", lambda root: (root / "models").touch(), "plan", "'models' is no folder", "move it away"),
    Mistake("species", nothing, "run sinomacrop", "no species 'sinomacrop'", "did you mean 'sinomacrops'"),
    Mistake("no species", nothing, "curate", "Missing argument 'SPECIES'", "sinomacrops, dimorphodontidae"),
    Mistake("command", nothing, "trian sinomacrops", "'trian'", "'train'"),
    Mistake("too early", nothing, "train sinomacrops", "no result of `curate` yet", "`paleo curate sinomacrops` first"),
    Mistake("no git", no_git, "plan", "is no git repository", "run `git init` there"),
    Mistake("outside", outside, "plan", "no params.yaml and dvc.yaml in ", "change into the project's folder"),
    Mistake("no params", lambda root: (root / "params.yaml").unlink(), "plan", "has no params.yaml", "restore it"),
    Mistake("no network", source(NOWHERE), "collect dodo", "nothing.invalid cannot be found", "correct the sources"),
    Mistake("port", nothing, "up --gallery-port TAKEN", "port TAKEN for gallery is in use", "--gallery-port PORT"),
]
IN_FLOWS = ("run", "plan", "up")


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    folder = clone(tmp_path_factory.mktemp("mistakes") / "template")
    (folder / "list.txt").write_text("https://nothing.invalid/dodo.jpg\n")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--force"], cwd=folder, check=True)
    return folder


@pytest.fixture
def project(template, tmp_path) -> Path:
    """A copy without the tests, which no command reads."""
    return Path(shutil.copytree(template, tmp_path / "project", ignore=shutil.ignore_patterns("tests"), symlinks=True))


def rated(mistake: Mistake, output: str) -> int:
    """0 to 2: the sentence has what was wrong, and what to do."""
    return (mistake.what in output) + (mistake.mend in output)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_one_sentence_with_what_and_how(mistake, project, monkeypatch, capfd):
    mistake.make(project)
    monkeypatch.chdir(project)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words = mistake.command.replace("TAKEN", port).split()
        if words[0] in IN_FLOWS:
            command = [sys.executable, "-m", "flows", *words]
            code = subprocess.run(command, env=environment(project), timeout=200).returncode
        else:
            code = main(words)
    output = capfd.readouterr().err.replace(port, "TAKEN")
    assert code in (1, 2) and "Traceback" not in output, output
    sentences = [line for line in output.splitlines() if line.startswith(("paleo ", "Error: "))]
    assert len(sentences) == 1 and (code == 2 or output.strip() == sentences[0]), output
    assert rated(mistake, sentences[0]) == 2, sentences[0]


def test_there_are_twenty_five_and_more_mistakes():
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES) >= 25
