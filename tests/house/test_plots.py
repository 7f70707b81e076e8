"""`dvc plots show` draws the curves of whatever species are trained, with real DVC; dvc.yaml names none of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.core.stages import STAGES
from pipeline.io.files import curve_tables
from tests.browser import CHROMIUM, MISSING, browser
from tests.project import ROOT, environment, git

CURVES = {
    "train.csv": "step,loss,learning_rate,gradient_norm\n1,0.5,0.1,1.0\n2,0.4,0.1,1.0\n",
    "held_out_mean.csv": "step,loss,relative\n0,0.6,1.0\n2,0.3,0.5\n",
    "held_out.csv": "step,timestep,loss,relative\n0,100,0.6,1.0\n2,100,0.3,0.5\n",
}


@pytest.fixture
def cloned(tmp_path) -> Path:
    """A project in which nothing has run."""
    for name in ("dvc.yaml", "params.yaml", ".dvc/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / ".dvc/plots", tmp_path / ".dvc/plots")
    git(tmp_path, "init", "-q")
    return tmp_path


def shown(folder: Path) -> tuple[dict[str, list[dict]], str]:
    """The rows of each plot, and what DVC complains of."""
    command = [sys.executable, "-m", "dvc", "plots", "show", "--json"]
    done = subprocess.run(command, cwd=folder, env=environment(ROOT), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    plots = json.loads(done.stdout)["data"]
    return {name: plot[0]["content"]["data"]["values"] for name, plot in plots.items() if plot}, done.stderr


def train(folder: Path, species: str, *files: str) -> Path:
    model = folder / "models" / species
    model.mkdir(parents=True)
    for name in files:
        (model / name).write_text(CURVES[name])
    return model


def test_every_trained_species_is_drawn_and_none_that_is_missing_is_complained_of(cloned):
    models = {"dodo": train(cloned, "dodo", *CURVES), "moa": train(cloned, "moa", "train.csv")}
    curve_tables.write(models, cloned / "site/curves")
    plots, complaints = shown(cloned)
    assert "failed" not in complaints
    assert [len(rows) for rows in plots.values()] == [4, 2, 2]
    losses = [(row["species"], row["step"], row["loss"]) for row in plots["training loss"]]
    assert losses == [("dodo", "1", "0.5"), ("dodo", "2", "0.4"), ("moa", "1", "0.5"), ("moa", "2", "0.4")]


def test_before_anything_is_trained_the_command_succeeds(cloned):
    plots, _ = shown(cloned)
    assert not any(plots.values())
    curve_tables.write({}, cloned / "site/curves")
    plots, complaints = shown(cloned)
    assert not any(plots.values()) and "failed" not in complaints


def test_plots_name_the_tables_of_the_gallery_and_a_template_that_is_there():
    plots = [plot for entry in YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"] for plot in entry.values()]
    assert [Path(next(iter(plot["y"]))).name for plot in plots] == list(curve_tables.TABLES)
    for plot, (_, columns) in zip(plots, curve_tables.TABLES.values(), strict=True):
        template = (ROOT / ".dvc/plots" / f"{plot['template']}.json").read_text(encoding="utf-8")
        assert json.loads(template) and '"field": "species"' in template
        assert {plot["x"], *plot["y"].values()} <= set(columns.split(","))


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_the_page_of_plots_is_drawn_without_network(cloned):
    models = {"dodo": train(cloned, "dodo", *CURVES), "moa": train(cloned, "moa", *CURVES)}
    curve_tables.write(models, cloned / "site/curves")
    command = [sys.executable, "-m", "dvc", "plots", "show"]
    done = subprocess.run(command, cwd=cloned, env=environment(ROOT), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with browser() as page:
        page.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        page.go((cloned / "dvc_plots/index.html").as_uri())
        page.wait("document.querySelectorAll('canvas, svg.marks').length >= 3")
        assert not page.errors
        assert page.requests and all(request.startswith("file://") for request in page.requests), page.requests
        (cloned / "site/curves/vega.js").unlink()
        page.go((cloned / "dvc_plots/index.html").as_uri())
        assert page.run("document.body.innerText").count("`dvc repro gallery` writes") == 3


def test_the_documented_graph_fits_a_screen(cloned):
    """The form that docs/versioning.md names has one box a stage, whatever number of species there is."""
    command = [sys.executable, "-m", "dvc", "dag", "--collapse-foreach-matrix"]
    done = subprocess.run(command, cwd=cloned, env=environment(ROOT), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert max(map(len, lines)) <= 120 and len(lines) <= 60  # its layout is another one at every start: 89 to 109
    assert all(f"| {stage} |" in done.stdout for stage in STAGES)
    assert " ".join(command[2:]) in (ROOT / "docs/versioning.md").read_text(encoding="utf-8")
