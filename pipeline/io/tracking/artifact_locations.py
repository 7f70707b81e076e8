"""Artifact locations of the embedded MLflow store: moved along when a project's folder was moved or copied.

`mlflow.db` holds absolute paths. When they point into the `mlartifacts` of another project's folder, this folder was
moved, renamed or copied from there, and its own artifacts lie in its own `mlartifacts`. `python -m
pipeline.io.tracking.artifact_locations` does it for the project in the working directory, without starting MLflow.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

STORE, ARTIFACTS = "mlflow.db", "mlartifacts"
PROJECT_FILES = ("params.yaml", STORE)  # what tells a project's folder from any other
# Every column of MLflow's tables that holds a location. The tags of traces hold other texts too, which never begin
# with the folder.
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
    ("workspaces", "default_artifact_root"),
    ("workspaces", "trace_archival_location"),
)
BUSY_S = 20  # how long to wait for another process that writes
_log = logging.getLogger(__name__)


def relocate(root: Path) -> None:
    """Rewrite locations below the `mlartifacts` of former folders of this project; all in one transaction, or none.

    A location that lies anywhere else is left alone. One line is logged when something was rewritten.

    Raises
    ------
    sqlite3.Error
        When `mlflow.db` cannot be read or written.
    """
    store, home = root / STORE, (root / ARTIFACTS).resolve()
    if not store.is_file() or store.is_symlink():  # a link: the store of another project
        return
    with closing(sqlite3.connect(store, timeout=BUSY_S, isolation_level=None)) as database:
        if not former_homes(database, home):
            return
        database.execute("BEGIN IMMEDIATE")
        homes = former_homes(database, home)  # again: another process may have been faster
        changed = sum(_rewrite(database, former, home) for former in homes)
        database.execute("COMMIT")
    if changed:
        places = ", ".join(str(former.parent) for former in homes)
        _log.warning("this project was moved or copied from %s: mlflow.db now points to %s", places, home)


def former_homes(database: sqlite3.Connection, home: Path) -> list[Path]:
    """The `mlartifacts` folders of former places of this project, by its experiments; `home` is the present one.

    An experiment of ours lies in `<project>/mlartifacts/<its name>`. Its project is a former place of this one when it
    is gone, when it is a project still (this one is a copy), or when the experiment's files are here.
    """
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "experiments" not in tables:
        return []
    rows = database.execute("SELECT name, artifact_location FROM experiments WHERE artifact_location IS NOT NULL")
    return sorted(
        {folder.parent for name, folder in _ours(rows) if folder.parent != home and _moved(name, folder, home)}
    )


def local_path(location: str) -> Path | None:
    """The folder that an artifact location means on this machine, or None when it is somewhere else."""
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def _ours(rows: sqlite3.Cursor) -> Iterator[tuple[str, Path]]:
    """The experiments, with their folders, that lie where this program puts them."""
    for name, location in rows:
        folder = local_path(location)
        if folder is not None and folder.is_absolute() and folder.parts[-2:] == (ARTIFACTS, name):
            yield name, folder


def _moved(name: str, folder: Path, home: Path) -> bool:
    project = folder.parents[1]
    is_project = any((project / file).is_file() for file in PROJECT_FILES)
    return is_project or not project.exists() or (home / name).is_dir()


def _rewrite(database: sqlite3.Connection, former: Path, home: Path) -> int:
    """Put `home` in place of `former` at the beginning of every location; returns how many there were."""
    return sum(
        _rewrite_column(database, table, column, *texts)
        for table, column in LOCATIONS
        for texts in ((str(former), str(home)), (former.as_uri(), home.as_uri()))
    )


def _rewrite_column(database: sqlite3.Connection, table: str, column: str, old: str, new: str) -> int:
    columns = {name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")}
    if column not in columns:  # of an older or newer MLflow
        return 0
    below = f"{column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'"
    query = f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) WHERE {below}"
    return database.execute(query, {"old": old, "new": new}).rowcount


if __name__ == "__main__":
    relocate(Path.cwd())
