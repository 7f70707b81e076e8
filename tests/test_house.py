"""The house rules that no linter knows: deps cover imports, layout, nothing heavy at start-up."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
from ruamel.yaml import YAML

from pipeline.core.stages import STAGES

ROOT = Path(__file__).parents[1]
DAG = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
PURE = [stage for stage in DAG if stage != "collect"]  # collect is frozen by design


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("pipeline")


def _deps(stage: str) -> list[str]:
    stanza = DAG[stage].get("do", DAG[stage])
    return [dep for dep in stanza["deps"] if dep.startswith("pipeline/")]


def _file_of(module: str) -> str:
    path = ROOT / module.replace(".", "/")
    return f"{path.relative_to(ROOT)}/" if path.is_dir() else f"{path.relative_to(ROOT)}.py"


@pytest.mark.parametrize("stage", PURE)
def test_every_import_of_a_stage_is_among_its_deps(imports, stage):
    closure = imports.find_upstream_modules(f"pipeline.{stage}") | {f"pipeline.{stage}"}
    rooms = {module for module in closure if module.count(".") >= 1}
    covered = tuple(dep if dep.endswith(".py") else f"{dep}/" for dep in _deps(stage))
    missing = sorted(module for module in rooms if not _file_of(module).startswith(covered))
    assert not missing, f"{stage} imports {missing}, which dvc.yaml does not name among its deps"


@pytest.mark.parametrize("stage", PURE)
def test_no_dep_of_a_stage_is_a_room_it_never_enters(imports, stage):
    closure = {_file_of(m) for m in imports.find_upstream_modules(f"pipeline.{stage}") | {f"pipeline.{stage}"}}
    unused = [dep for dep in _deps(stage) if not any(path.startswith(dep) for path in closure)]
    assert not unused, f"{stage} never imports {unused}: an edit there would run it for nothing"


def test_the_dag_and_the_command_line_name_the_same_stages():
    assert list(DAG) == list(STAGES)


@pytest.mark.parametrize("words", [["--help"], ["generate", "--help"], ["pretrain", "--help"], ["params", "--help"]])
def test_help_starts_without_a_heavy_import(words):
    code = f"import sys, pipeline.__main__ as m; m.main({words}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    heavy = {"torch", "diffusers", "mlflow", "prefect", "pandas", "pydantic", "great_expectations", "numpy", "httpx"}
    assert not heavy & set(loaded.split())


def test_no_file_outgrows_the_house():
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("pipeline", "flows")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := path.read_text().count("\n")) > 400
    }
    assert not long, f"longer than 400 lines: {long}"


def test_constraints_pin_every_package_and_name_no_index():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line) for line in lines)
