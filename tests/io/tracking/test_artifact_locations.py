"""Moved, renamed and copied projects: the embedded store's locations follow, and nothing else is touched."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from pipeline.commands.generate import generate
from pipeline.commands.register import register
from pipeline.core import params as params_module
from pipeline.core.paths import Paths
from pipeline.core.records import StepReport
from pipeline.io import tracking
from pipeline.io.tracking import artifact_locations, mlflow_store
from pipeline.io.tracking.registered_models import open_version
from tests import released_project
from tests.conftest import copy_store
from tests.mlflow_store import server

ROOT = Path(__file__).parents[3]
PARAMS = params_module.load(ROOT / "params.yaml")
KEY = released_project.SPECIES[0]


@pytest.fixture
def home(tmp_path, empty_store, monkeypatch) -> Path:
    """A project's folder that can be moved within `tmp_path`."""
    monkeypatch.delenv(mlflow_store.URI, raising=False)
    folder = tmp_path / "old place/project"
    folder.mkdir(parents=True)
    copy_store(empty_store, folder)
    return folder


def train(root: Path, lineage_id: str = "a" * 16) -> None:
    """A training that logs a step and a file."""
    note = root.parent / "note.txt"
    note.write_text("a note", encoding="utf-8")
    with tracking.training_run(PARAMS, Paths(root, KEY), lineage_id=lineage_id) as run:
        run.step(StepReport(1, 1.0, 1e-4, 0.5, 0.1, 80.0))
        run.artifact(note)


def texts(store: Path) -> dict[str, list[str]]:
    """Every text of every table, by `table.column`."""
    with closing(sqlite3.connect(store)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = [(t, row[1]) for t in tables for row in database.execute(f"PRAGMA table_info({t})")]
        return {
            f"{table}.{column}": [str(row[0]) for row in database.execute(f'SELECT "{column}" FROM "{table}"')]
            for table, column in columns
        }


def mentions(store: Path, folder: Path) -> dict[str, int]:
    """How many texts of each column begin with a folder's `mlartifacts`."""
    found = {name: sum(f"{folder}/mlartifacts" in text for text in rows) for name, rows in texts(store).items()}
    return {name: count for name, count in found.items() if count}


def run_folders(root: Path) -> list[Path]:
    client = mlflow_store.connect(root)
    experiment = client.get_experiment_by_name(KEY)
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return [Path(run.info.artifact_uri) for run in runs]


def test_a_moved_project_trains_on_and_says_so_once(home, tmp_path, caplog):
    train(home)
    moved = home.rename(tmp_path / "new")
    train(moved, "b" * 16)
    assert [record.message for record in caplog.records] == [
        f"this project was moved or copied from {home}: mlflow.db now points to {moved}/mlartifacts"
    ]
    for folder in run_folders(moved):
        assert folder.is_relative_to(moved / "mlartifacts")
        assert (folder / "note.txt").read_text(encoding="utf-8") == "a note"
    assert not home.exists()


def test_a_released_project_that_was_moved_generates_and_is_served(home, tmp_path, monkeypatch):
    params = released_project.make(home)
    register(params, [released_project.finish(params, home)])
    before = mentions(home / "mlflow.db", home)
    assert set(before) == {f"{table}.{column}" for table, column in artifact_locations.LOCATIONS[:5]}
    moved = home.rename(tmp_path / "new")
    generated = generate(
        params, Paths(moved, KEY), "a bird", sample=params.sample, seed=1, number=1, out=tmp_path / "out"
    )
    assert Path(generated.lines[-1]).is_file()
    assert mentions(moved / "mlflow.db", home) == {}
    assert mentions(moved / "mlflow.db", moved) == before
    monkeypatch.setenv(mlflow_store.URI, mlflow_store.store_uri(moved))
    served = mlflow.pyfunc.load_model(f"models:/{KEY}@champion").predict({"prompt": ["a bird"], "seed": [1]})
    assert served[0] == Path(generated.lines[-1]).read_bytes()
    assert "is already registered as version 1" in register(params, [Paths(moved, KEY)]).lines[0]


def test_a_copied_project_uses_its_own_artifacts_and_leaves_the_first_alone(home, tmp_path):
    params = released_project.make(home)
    register(params, [released_project.finish(params, home)])
    copied = Path(shutil.copytree(home, tmp_path / "copy"))
    before = texts(home / "mlflow.db")
    assert open_version(copied, KEY).checkpoint.is_relative_to(copied / "mlartifacts")
    assert texts(home / "mlflow.db") == before
    assert open_version(home, KEY).checkpoint.is_relative_to(home / "mlartifacts")


def test_a_copied_project_without_any_artifacts_does_not_log_to_the_first(home, tmp_path):
    with tracking.training_run(PARAMS, Paths(home, KEY), lineage_id="a" * 16):
        pass
    copied = Path(shutil.copytree(home, tmp_path / "copy"))
    (home / "params.yaml").write_text("seed: 0\n", encoding="utf-8")
    train(copied, "b" * 16)
    assert [folder.is_relative_to(copied) for folder in run_folders(copied)] == [True, True]


def test_artifacts_lie_beside_an_sqlite_store_elsewhere(home, tmp_path, empty_store, monkeypatch):
    """So no store ever points into the folder of a project that merely used it."""
    shared = tmp_path / "shared"
    shared.mkdir()
    copy_store(empty_store, shared)
    monkeypatch.setenv(mlflow_store.URI, f"sqlite:///{shared}/mlflow.db")
    train(home)
    [folder] = run_folders(home)
    assert folder.is_relative_to(shared / "mlartifacts")


def test_a_project_may_move_twice_and_back(home, tmp_path):
    train(home)
    train(home.rename(tmp_path / "second"), "b" * 16)
    third = (tmp_path / "second").rename(tmp_path / "third")
    with closing(sqlite3.connect(third / "mlflow.db", isolation_level=None)) as database:
        artifact_locations._rewrite(database, tmp_path / "second/mlartifacts", home / "mlartifacts")
        database.execute(
            "UPDATE runs SET artifact_uri = replace(artifact_uri, ?, ?) WHERE rowid = 2", [str(home), "/x"]
        )
    folders = run_folders(third)
    assert folders[0].is_relative_to(third) and folders[1].is_relative_to("/x"), "only former places are rewritten"
    train(third.rename(home), "c" * 16)
    assert run_folders(home)[0].is_relative_to(home)


@pytest.mark.parametrize("kind", ["a folder", "another project"])
def test_a_location_outside_former_places_is_left_alone(home, tmp_path, kind):
    """A folder of the user's own choice, though it is called mlartifacts, and one with files that are not here."""
    shared = tmp_path / "shared/mlartifacts"
    shared.mkdir(parents=True)
    if kind == "another project":
        (shared / "study").mkdir()
        (tmp_path / "shared/params.yaml").write_text("seed: 0\n", encoding="utf-8")
    client = mlflow_store.connect(home)
    client.create_experiment("study", artifact_location=str(shared / "study"))
    client.create_experiment("bucket", artifact_location="s3://bucket/mlartifacts/bucket")
    client.create_experiment("other", artifact_location=str(tmp_path / "elsewhere/other"))
    train(home)
    client = mlflow_store.connect(home.rename(tmp_path / "new"))
    locations = {each.name: each.artifact_location for each in client.search_experiments()}
    assert locations["bucket"] == "s3://bucket/mlartifacts/bucket"
    assert locations["other"] == str(tmp_path / "elsewhere/other")
    assert locations["study"] == str(shared / "study")
    assert locations[KEY] == str(tmp_path / "new/mlartifacts" / KEY)


def test_locations_are_rewritten_all_or_none(home, tmp_path, monkeypatch):
    train(home)
    moved = home.rename(tmp_path / "new")
    before, real, calls = texts(moved / "mlflow.db"), artifact_locations._rewrite_column, []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(artifact_locations, "_rewrite_column", killed)
    with pytest.raises(KeyboardInterrupt):
        mlflow_store.connect(moved)
    assert texts(moved / "mlflow.db") == before
    monkeypatch.undo()
    monkeypatch.delenv(mlflow_store.URI, raising=False)
    mlflow_store.connect(moved)
    assert mentions(moved / "mlflow.db", home) == {}


def test_a_server_over_a_moved_store_serves_the_new_place(home, tmp_path, monkeypatch):
    """Also when it was started before anybody mended the locations."""
    train(home)
    moved = home.rename(tmp_path / "new")
    with server(moved) as address:
        monkeypatch.setenv(mlflow_store.URI, address)
        train(moved, "b" * 16)
        assert [folder.is_relative_to(moved / "mlartifacts") for folder in run_folders(moved)] == [True, True]
    assert not home.exists()


def test_a_server_is_started_over_a_mended_store(home, tmp_path):
    """As `paleo up` starts it: the module mends the store of the working directory, then becomes `mlflow …`."""
    train(home)
    moved = home.rename(tmp_path / "new")
    command = [sys.executable, "-m", "pipeline.io.tracking.artifact_locations", "mlflow", "--version"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=moved, env=environment, capture_output=True, text=True, check=True)
    assert "version" in done.stdout
    assert "this project was moved or copied from" in done.stderr
    assert mentions(moved / "mlflow.db", home) == {}
