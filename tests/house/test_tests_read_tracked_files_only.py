"""The tests pass in a clone that was worked in for weeks: they read what git tracks and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.project import ROOT, clone, git, tracked_files

# What running the pipeline leaves in a project's folder.
LEFTOVERS = ("dvc.lock", ".work/", "mlflow.db", "mlartifacts/", "models/", "samples/", "site/", "reports/", "data/raw/")
SHARED_FOLDERS = ("data/curated/", "exports/", "generated/", "base_models/", "mlruns/")


@pytest.fixture
def worked_in(tmp_path) -> Path:
    """A clone after a demo, with edits, notes, and results that its owner has committed."""
    folder = clone(tmp_path / "worked_in")
    committed = ("dvc.lock", "reports/dodo/metrics.json")
    for name in (*committed, "notes.txt", "pipeline/scratch.py", "data/raw/dodo/card.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    git(folder, "add", "--force", *committed)
    git(folder, "commit", "-q", "-m", "results")
    (folder / "README.md").write_text("edited")
    (folder / "LICENSE").unlink()
    return folder


def test_a_clone_has_edits_of_tracked_files_but_neither_untracked_ones_nor_results(worked_in, tmp_path):
    copy = clone(tmp_path / "copy", worked_in)
    expected = set(tracked_files(worked_in)) - {"dvc.lock", "reports/dodo/metrics.json", "LICENSE"}
    assert set(tracked_files(copy)) == expected
    assert {str(p.relative_to(copy)) for p in copy.rglob("*") if p.is_file() and ".git" not in p.parts} == expected
    assert (copy / "README.md").read_text() == "edited"
    assert (copy / "data/reviews/README.md").is_file() and (copy / "data/masks/README.md").is_file()


def test_no_test_reads_what_a_run_leaves_in_the_project():
    """`ROOT / "dvc.lock"` and the like: such a test passes or fails by what somebody ran before."""
    found = [
        f"{path.relative_to(ROOT)}: {text}"
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        if (text := ast.unparse(node)).startswith("ROOT / ")
        if text.removeprefix("ROOT / ").strip("'\"").startswith(LEFTOVERS + SHARED_FOLDERS)
    ]
    assert not found
