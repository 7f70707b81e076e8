"""The verdict of a validation as an artifact of the flow, with real Prefect and DVC on the mini project."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows import graph, validation
from tests.flows import mini_project as mini

ENTRY = {
    "name": "licence",
    "title": "licence known",
    "layer": "manifest",
    "severity": "stop",
    "success": False,
    "observed": "4 of 9 candidates",
    "offending": ["a|b", "<img>", "c", "d"],
}
HOLDS = {
    **ENTRY,
    "name": "size",
    "title": "large enough",
    "success": True,
    "observed": "all 5 pictures",
    "offending": [],
}
VERDICT = {
    "species": "dodo",
    "success": False,
    "stopped": ["licence"],
    "warned": [],
    "expectations": [HOLDS, ENTRY],
    "n_train": 4,
    "n_holdout": 1,
}


def test_a_verdict_as_markdown_names_the_page_and_what_failed_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = validation.markdown(VERDICT, Path("reports/validation/dodo/index.html")).splitlines()
    assert lines[0] == "**Refused** by 1 of 2 expectations: 4 training and 1 held-out pictures."
    assert lines[2] == (
        "With the pictures: "
        "[reports/validation/dodo/index.html](http://127.0.0.1:8080/reports/validation/dodo/index.html), "
        "[in the gallery](http://127.0.0.1:8080/dodo/validation.html)"
    )
    assert lines[6] == "**stops** | manifest | licence known | 4 of 9 candidates: a&#124;b, &#60;img&#62;, c …"
    assert lines[7] == "holds | manifest | large enough | all 5 pictures"


def test_links_lead_to_the_port_on_which_the_gallery_was_served_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work/addresses.json").write_text(json.dumps({"gallery": "http://127.0.0.1:8000"}))
    text = validation.markdown({**VERDICT, "success": True, "stopped": [], "warned": ["x"]}, Path("index.html"))
    assert text.startswith("**Accepted**, with 1 of its expectations warning: 4 training")
    assert "[in the gallery](http://127.0.0.1:8000/dodo/validation.html)" in text


@pytest.fixture
def project(fresh) -> Path:
    """The mini project with a stage `validate`, as the real one has it."""
    yaml = YAML()
    dag = yaml.load(fresh / "dvc.yaml")
    statistics = {"reports/validation/${key}.statistics.json": {"cache": False, "persist": True}}
    dag["stages"]["validate"] = {
        "foreach": "${species}",
        "do": {
            "cmd": "python -m pipeline validate",
            "deps": ["data/curated/${key}"],
            "outs": ["reports/validation/${key}", statistics],
        },
    }
    yaml.dump(dag, fresh / "dvc.yaml")
    return fresh


def artifacts(server: dict[str, str], key: str) -> list[str]:
    """The texts of an artifact, oldest first."""
    query = {"artifacts": {"key": {"any_": [key]}}, "sort": "CREATED_DESC"}
    found = mini.prefect(server).post("/artifacts/filter", json=query).json()
    return [artifact["data"] for artifact in reversed(found)]


def test_each_validation_that_ran_leaves_its_verdict_refused_or_not(project, server):
    mini.wish(project, "refuse", "ants")
    done = mini.flows(project, "run", **server)
    assert done.returncode == 1 and "validate@ants failed: 1 of 1 expectations failed" in done.stderr
    (refused,), (accepted,) = (artifacts(server, f"validation-{key}") for key in ("ants", "bees"))
    assert refused.startswith("**Refused** by 1 of 1") and "train/&#91;ants&#93;&#124;&#60;b&#62;.png" in refused
    assert accepted.startswith("**Accepted**: 2 training and 1 held-out pictures.")
    mini.unwish(project, "refuse")
    assert mini.flows(project, "run", **server).returncode == 0
    assert artifacts(server, "validation-ants")[1].startswith("**Accepted**")
    assert len(artifacts(server, "validation-bees")) == 1  # it was cached


def test_a_lost_verdict_is_planned_as_what_dvc_does_a_run(project, monkeypatch):
    monkeypatch.chdir(project)
    mini.dvc(project, "repro", "validate@ants")
    shutil.rmtree("reports/validation/ants")
    assert graph.read()["validate@ants"].action == "run"
    assert "Running stage 'validate@ants'" in mini.dvc(project, "repro", "validate@ants")
