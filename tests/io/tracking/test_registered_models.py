"""Opening registered versions: files in the project's folder, on a server, or gone; the base model below an adapter."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import pytest

from pipeline.commands.register import register
from pipeline.core.errors import InputError, ServiceError
from pipeline.io.tracking import mlflow_store
from pipeline.io.tracking.artifact_locations import local_path
from pipeline.io.tracking.registered_models import open_version
from tests import released_project
from tests.conftest import copy_store
from tests.mlflow_store import server

KEY = released_project.SPECIES[0]


@pytest.fixture
def registered(project) -> Path:
    params = released_project.make(project)
    register(params, [released_project.finish(params, project)])
    return project


def test_the_champion_is_read_where_it_lies(registered):
    found = open_version(registered, KEY)
    assert (found.version.number, found.base) == (1, None)
    assert (found.config["method"], found.config["family"]) == ("dreambooth", "sd")
    assert (found.checkpoint / "model_index.json").is_file()
    assert registered / "mlartifacts" in found.checkpoint.parents, "no copy is made"
    assert found.config["class_noun"] == "flying reptile"
    assert found.version.tags["lineage_id"] == "a" * 16


def test_a_species_without_champion_is_one_sentence(project):
    with pytest.raises(InputError, match=f"{KEY} has no champion yet; run `paleo run {KEY}` first"):
        open_version(project, KEY)


def test_files_that_are_gone_are_one_sentence(registered):
    shutil.rmtree(registered / "mlartifacts")
    with pytest.raises(InputError, match=f"the files of {KEY} version 1 are not in .*mlartifacts.*; put them back, or"):
        open_version(registered, KEY)


def test_a_registry_that_does_not_answer_is_one_sentence(registered, monkeypatch):
    monkeypatch.setenv(mlflow_store.URI, "http://127.0.0.1:9")
    with pytest.raises(ServiceError, match="does not answer"):
        open_version(registered, KEY)


def test_a_server_elsewhere_takes_and_gives_everything(tmp_path, empty_store, monkeypatch):
    """Its store is not the project's, so files travel; afterwards the champion is kept in `.work`."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir(), elsewhere.mkdir()
    copy_store(empty_store, elsewhere)
    params = released_project.make(project, "lora")
    paths = released_project.finish(params, project)
    with server(elsewhere) as address:
        monkeypatch.setenv(mlflow_store.URI, address)
        assert "version 1 (champion)" in register(params, [paths]).lines[0]
        assert "already registered" in register(params, [paths]).lines[0]
        found = open_version(project, KEY)
        assert mlflow.pyfunc.load_model(f"models:/{KEY}@champion").predict({"prompt": "a bird"})[0][:4] == b"\x89PNG"
    assert not (project / "mlflow.db").exists()
    assert (elsewhere / "mlartifacts").is_dir()
    assert found.checkpoint.is_relative_to(project / ".work/registry")
    assert (found.base / "unet/diffusion_pytorch_model.safetensors").is_file()


def test_a_server_over_the_projects_own_store_copies_nothing(registered, monkeypatch):
    with server(registered) as address:
        monkeypatch.setenv(mlflow_store.URI, address)
        assert registered / "mlartifacts" in open_version(registered, KEY).checkpoint.parents
        params = released_project.make(registered)
        paths = released_project.finish(params, registered, released_project.SPECIES[1])
        assert "version 1 (champion)" in register(params, [paths]).lines[0]
    monkeypatch.delenv(mlflow_store.URI)
    assert open_version(registered, released_project.SPECIES[1]).version.number == 1


def test_an_artifact_location_is_a_folder_here_or_none():
    assert local_path("file:///a%20b/c") == Path("/a b/c")
    assert local_path("/a b/c") == Path("/a b/c")
    assert local_path("mlflow-artifacts:/1/models") is None
