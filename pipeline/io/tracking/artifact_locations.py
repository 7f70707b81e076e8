"""Artifact locations of the embedded MLflow store: moved along when a project's folder was moved or copied.

`mlflow.db` holds absolute paths. When they point into the `mlartifacts` of another project's folder, this folder was
moved, renamed or copied from there, and its own artifacts lie in its own `mlartifacts`.

    python -m pipeline.io.tracking.artifact_locations mlflow server …

mends the project in the working directory, then runs `python -m mlflow server …` in place of this process.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
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
    is gone, when files of its experiments are here, or when it is a project whose experiments have no files yet.
    """
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "experiments" not in tables:
        return []
    rows = database.execute("SELECT name, artifact_location FROM experiments WHERE artifact_location IS NOT NULL")
    experiments: dict[Path, list[str]] = {}
    for name, folder in _ours(rows):
        experiments.setdefault(folder.parent, []).append(name)
    return [other for other, names in sorted(experiments.items()) if other != home and _is_former(other, names, home)]


def _is_former(other: Path, names: Sequence[str], home: Path) -> bool:
    """Is `other` the `mlartifacts` of a former place? `names` are those of the experiments that lie there."""
    project = other.parent
    here = [(home / name).is_dir() for name in names]
    is_project = any((project / file).is_file() for file in PROJECT_FILES)
    return not project.exists() or any(here) or (is_project and not any((other / name).is_dir() for name in names))


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
    with suppress(sqlite3.Error):  # MLflow itself reports a store that cannot be used
        relocate(Path.cwd())
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
