"""Fixtures that several folders of tests use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """An embedded MLflow store without anything in it: making one takes seconds, copying it none."""
    from pipeline.io.tracking import mlflow_store

    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(mlflow_store.URI, raising=False)
        mlflow_store.connect(folder)
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path, empty_store, monkeypatch) -> Path:
    """A project's folder with an embedded store, whatever store the caller's environment names."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    copy_store(empty_store, tmp_path)
    return tmp_path


def copy_store(store: Path, folder: Path) -> None:
    """By SQLite, because the newest pages may still lie in the write-ahead log beside the file."""
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(folder / "mlflow.db")) as target:
        source.backup(target)
