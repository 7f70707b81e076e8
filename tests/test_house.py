"""House rules that no linter checks: the DAG and its floors, file sizes, nothing heavy at start-up."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import grimp
import pytest
from ruamel.yaml import YAML

from pipeline.core.stages import OVER_ALL_SPECIES, STAGES
from tests.project import ROOT, tracked_files

TRACKED = [path for path in tracked_files() if (ROOT / path).is_file()]
DAG = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("pipeline", "flows", cache_dir=None)


def test_the_dag_and_the_table_of_stages_name_the_same_ones():
    assert list(DAG) == list(STAGES)
    assert [stage for stage, stanza in DAG.items() if "foreach" not in stanza] == list(OVER_ALL_SPECIES)


def test_every_module_of_pipeline_is_a_stage_or_has_a_floor():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    known = {name.strip() for layer in layers for name in layer.split("|")} | set(STAGES)
    modules = {path.split("/")[1].removesuffix(".py") for path in TRACKED if re.fullmatch(r"pipeline/.+\.py", path)}
    assert modules - {"__init__"} <= known


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_no_other_stage_and_is_imported_by_commands_only(imports, stage):
    module, others = f"pipeline.{stage}", {f"pipeline.{other}" for other in STAGES if other != stage}
    imported = imports.find_modules_directly_imported_by(module)
    assert not imported & {*others, "pipeline.__main__"}
    assert not [name for name in imported if name.startswith("pipeline.commands")]
    importers = imports.find_modules_that_directly_import(module)
    assert all(name.startswith("pipeline.commands.") or name == "pipeline.__main__" for name in importers)


@pytest.mark.parametrize("words", [["--help"], ["generate", "--help"], ["pretrain", "--help"], ["params", "--help"]])
def test_help_starts_without_a_heavy_import(words):
    code = f"import sys, pipeline.__main__ as m; m.main({words}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    heavy = {"torch", "diffusers", "mlflow", "prefect", "pandas", "pydantic", "great_expectations", "numpy", "httpx"}
    assert not heavy & set(loaded.split())


def test_no_file_outgrows_the_house():
    long = {
        path: lines
        for path in TRACKED
        if re.fullmatch(r"(pipeline|flows)/.+\.py", path) and (lines := (ROOT / path).read_text().count("\n")) > 400
    }
    assert not long, f"longer than 400 lines: {long}"


def test_constraints_pin_every_package_and_name_no_index():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line) for line in lines)
