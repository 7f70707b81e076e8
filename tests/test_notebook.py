"""docs/paleoforge.ipynb, from its first cell to its last, with the embedded base model and a few drawn pictures."""

from __future__ import annotations

import ast
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.flows.mini_project import PATIENCE
from tests.pictures import scene
from tests.project import ROOT, clone, edit_params, environment

NOTEBOOK = ROOT / "docs/paleoforge.ipynb"
QUICK = {"PROFILE": "", "PICTURES": "pictures/dodo", "STEPS": 4, "SAMPLER_STEPS": 2, "PROMPTS": ["{name}", "a {name}"]}


def _with_values(source: str, values: dict) -> str:
    """The cell with other values of its variables; every one of them must be assigned there."""
    tree = ast.parse(source)
    assigned = {node.targets[0].id: node for node in tree.body if isinstance(node, ast.Assign)}
    for name, value in values.items():
        assigned[name].value = (
            ast.Constant(value) if not isinstance(value, list) else ast.parse(repr(value)).body[0].value
        )
    return ast.unparse(tree)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = clone(tmp_path_factory.mktemp("notebook") / "project")
    quick = {"batch_size": 4, "prior": {"images": 4}, "monitor": {"timesteps": 0, "prompts": []}}
    edit_params(folder, {"train": quick, "evaluate": {"bootstrap_resamples": 200}})
    (folder / "pictures/dodo").mkdir(parents=True)
    for number in range(8):
        scene(number).save(folder / f"pictures/dodo/{number}.png")
    return folder


@pytest.fixture(scope="module")
def executed(project) -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.source = _with_values(first.source, QUICK)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(project).items():
            patch.setenv(name, value)
        NotebookClient(
            notebook, timeout=int(250 * PATIENCE), resources={"metadata": {"path": str(project / "docs")}}
        ).execute()
    return notebook


def _output(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(str(each.get("text", "")) + str(each.get("data", {}).get("text/html", "")) for each in outputs)


def test_the_notebook_trains_and_shows_a_gallery_of_every_checkpoint(executed):
    output = _output(executed)
    assert "<th>base model</th><th>1 steps</th><th>2 steps</th><th>4 steps</th>" in output
    assert output.count("data:image/png;base64,") == 2 * 4 + 4


def test_the_notebook_ends_with_an_archive_of_model_gallery_and_credits(executed, project):
    (archive,) = project.glob("paleoforge-*.zip")
    names = zipfile.ZipFile(archive).namelist()
    assert any(name.startswith("exports/kohya/") and name.endswith(".safetensors") for name in names)
    assert {"site/index.html", "site/CREDITS.md"} <= set(names)


def test_the_committed_notebook_has_no_outputs_and_is_valid():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]


def test_the_notebook_fetches_the_base_model_as_the_profile_says():
    """The same repositories and the same files as the commands at the top of the profile."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    fetching = next(cell.source for cell in notebook.cells if "snapshot_download(" in cell.source)
    words = (ROOT / "infra/profiles/sd15.yaml").read_text(encoding="utf-8").split("PALEO_ACCELERATE_CONFIG")[0].split()
    fetched = [word.strip('"') for word in words if word.count("/") == 1 and not word.startswith(("--", "base_models"))]
    assert fetched and all(f'"{word}"' in fetching for word in fetched)
