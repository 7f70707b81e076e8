"""The MLflow store: its address, a client of it, its experiments, and its errors as sentences.

The store is `MLFLOW_TRACKING_URI`, or the embedded one: `mlflow.db` and `mlartifacts/` in the project's folder. MLflow
fixes where an experiment's artifacts lie when it is created, so experiments are created here and nowhere else. Those of
the embedded store get a folder, also when a server on this machine serves the same `mlflow.db`: then runs made through
the server and runs made directly can read each other's artifacts. When the project was moved, its locations are mended
on connecting.

MLflow takes half its settings from the environment alone, so this is the one module that sets variables.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.core.errors import InputError, ServiceError
from pipeline.io.tracking import artifact_locations

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

URI = "MLFLOW_TRACKING_URI"
SQLITE = "sqlite:///"
# One second try within about ten seconds; MLflow's own defaults wait for some minutes.
FIRST_ANSWER = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "4"}
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",  # a machine without git is no reason for a page of warnings
}


def store_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, or the embedded store in the project's folder."""
    return os.environ.get(URI) or f"{SQLITE}{_embedded(root)}"


def is_there(root: Path) -> bool:
    """Is a store named by the environment, or the embedded one made?"""
    return bool(os.environ.get(URI)) or _embedded(root).is_file()


def connect(root: Path) -> MlflowClient:
    """A client of the store, after the store has answered once; a moved project's locations are mended.

    Raises
    ------
    ServiceError
        When it cannot be reached within about ten seconds, cannot be written or is no store.
    """
    prepare()
    uri = store_uri(root)
    file = _sqlite_file(uri)
    with mlflow_errors(uri), _quick_first_answer():
        if file and not file.exists():
            _make(file)
        elif file:
            _check_writable(file)
        if file == _embedded(root):
            artifact_locations.relocate(root)
        client = _client(uri)
        if not file and _serves_embedded(client, root):
            artifact_locations.relocate(root)
        return client


def _client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_experiments(max_results=1)
    return client


def _make(file: Path) -> None:
    """A new store, built beside its place: of two processes that make one, or one that is killed, none harms it.

    The write-ahead log, which the file remembers, makes it in 2 s instead of 6 and later a write in 4 ms instead of 20,
    and lets a server read while a training writes.
    """
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".building-") as folder:
        built, closed = Path(folder, "built.db"), Path(folder, "closed.db")
        with closing(sqlite3.connect(built)) as database:
            database.execute("PRAGMA journal_mode = WAL")
        _client(f"{SQLITE}{built}")
        with closing(sqlite3.connect(built)) as source, closing(sqlite3.connect(closed)) as target:
            source.backup(target)  # a plain copy would lack what still lies in the log
        with suppress(FileExistsError):  # another process was faster
            os.link(closed, file)


def prepare() -> None:
    """Before mlflow is imported: no telemetry, no progress bars, no log lines below a warning."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # its tracebacks: raised as sentences here


def experiment(client: MlflowClient, root: Path, name: str) -> str:
    """The id of an experiment, made when it is missing.

    Raises
    ------
    InputError
        When it was deleted, or keeps its artifacts where only its server can reach them.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=_artifact_location(client, root, name))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was faster
            if found is None:
                raise
    _check_experiment(found, client.tracking_uri)
    return found.experiment_id


@contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """Raise a ServiceError of one sentence for what MLflow and its databases raise."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
        raise ServiceError(f"the MLflow store {_without_password(uri)} {_trouble(uri, error)}") from error


@contextmanager
def _quick_first_answer() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in FIRST_ANSWER}
    os.environ.update(FIRST_ANSWER)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _check_writable(file: Path) -> None:
    """MLflow tries an unusable SQLite file for 100 seconds; SQLite itself says so at once."""
    with closing(sqlite3.connect(file, timeout=20, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")


def _artifact_location(client: MlflowClient, root: Path, name: str) -> str | None:
    """A folder beside the file of an SQLite store; None, so that the server decides, for any other."""
    file = _sqlite_file(client.tracking_uri)
    if file is None and _serves_embedded(client, root):
        file = _embedded(root)
    return str((file.parent / artifact_locations.ARTIFACTS / name).resolve()) if file else None


def _sqlite_file(uri: str) -> Path | None:
    return Path(uri.removeprefix(SQLITE)).resolve() if uri.startswith(SQLITE) else None


def _embedded(root: Path) -> Path:
    return (root / artifact_locations.STORE).resolve()


def _serves_embedded(client: MlflowClient, root: Path) -> bool:
    """Does the server read this project's mlflow.db? The instant at which "Default" was made tells stores apart."""
    file = _embedded(root)
    default = client.get_experiment_by_name("Default") if file.is_file() else None
    if default is None:
        return False
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        row = database.execute("SELECT creation_time FROM experiments WHERE name = 'Default'").fetchone()
    return row is not None and row[0] == default.creation_time


def _check_experiment(found: Experiment, uri: str) -> None:
    if found.lifecycle_stage != "active":
        raise InputError(
            f"the MLflow experiment {found.name!r} was deleted; restore it with `mlflow experiments restore "
            f"--experiment-id {found.experiment_id}` or remove it for good with `mlflow gc`"
        )
    if found.artifact_location.startswith("mlflow-artifacts:") and not uri.startswith("http"):
        raise InputError(
            f"the MLflow experiment {found.name!r} was made by a server that keeps its artifacts to itself; "
            f"set {URI} to that server's address"
        )


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    return uri if parts.password is None else uri.replace(f":{parts.password}@", ":…@")


def _trouble(uri: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, sqlite3.Error | OSError) and uri.startswith(SQLITE):
        return f"cannot be used ({text}); make the file writable, free some space, or move it away to start anew"
    if uri.startswith("http") and ("Max retries" in text or "Timeout" in text or isinstance(error, ConnectionError)):
        return f"does not answer; start it (`paleo up`), or unset {URI} to use the embedded store"
    if isinstance(error, ImportError):
        return f"needs the package {error.name}; install it"
    return f"refuses: {text[:160]}{'…' * (len(text) > 160)}"
