"""The champion's files: in the project's folder, on a server, or gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import pytest

from pipeline.commands.register import register
from pipeline.core.errors import InputError, ServiceError
from pipeline.io.tracking import mlflow_registry, mlflow_store
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
    found = mlflow_registry.champion(registered, KEY)
    assert (found.version, found.method, found.family, found.base_folder) == (1, "dreambooth", "sd", None)
    assert (found.folder / "model_index.json").is_file()
    assert registered / "mlartifacts" in found.folder.parents, "no copy is made"
    assert found.config["class_noun"] == "flying reptile"
    assert found.tags["lineage_id"] == "a" * 16


def test_a_species_without_champion_is_one_sentence(project):
    with pytest.raises(InputError, match=f"{KEY} has no champion yet; run `paleo run {KEY}` first"):
        mlflow_registry.champion(project, KEY)


def test_files_that_are_gone_are_one_sentence(registered):
    shutil.rmtree(registered / "mlartifacts")
    with pytest.raises(InputError, match=f"the files of {KEY} version 1 are not in .*mlartifacts.*; put them back, or"):
        mlflow_registry.champion(registered, KEY)


def test_a_registry_that_does_not_answer_is_one_sentence(registered, monkeypatch):
    monkeypatch.setenv(mlflow_store.URI, "http://127.0.0.1:9")
    with pytest.raises(ServiceError, match="does not answer"):
        mlflow_registry.champion(registered, KEY)


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
        found = mlflow_registry.champion(project, KEY)
        assert mlflow.pyfunc.load_model(f"models:/{KEY}@champion").predict({"prompt": "a bird"})[0][:4] == b"\x89PNG"
    assert not (project / "mlflow.db").exists()
    assert (elsewhere / "mlartifacts").is_dir()
    assert found.folder.is_relative_to(project / ".work/registry")
    assert (found.base_folder / "unet/diffusion_pytorch_model.safetensors").is_file()


def test_a_server_over_the_projects_own_store_copies_nothing(registered, monkeypatch):
    with server(registered) as address:
        monkeypatch.setenv(mlflow_store.URI, address)
        assert registered / "mlartifacts" in mlflow_registry.champion(registered, KEY).folder.parents
        params = released_project.make(registered)
        paths = released_project.finish(params, registered, released_project.SPECIES[1])
        assert "version 1 (champion)" in register(params, [paths]).lines[0]
    monkeypatch.delenv(mlflow_store.URI)
    assert mlflow_registry.champion(registered, released_project.SPECIES[1]).version == 1


def test_an_artifact_location_is_a_folder_here_or_none():
    assert mlflow_store.local_path("file:///a%20b/c") == Path("/a b/c")
    assert mlflow_store.local_path("/a b/c") == Path("/a b/c")
    assert mlflow_store.local_path("mlflow-artifacts:/1/models") is None
