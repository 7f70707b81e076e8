"""Plain files as a tracker: `.work/tracking/<run>/` with `metrics.csv`, `params.json`, images and artifacts.

    metrics.csv     step, metric, value: one row per number, in the order of logging
    params.json     experiment, name, status, tags, params
    images/         <key>-<step>.png
    artifacts/      copies of the logged files

A disk that is full or read-only is one warning: the training itself is sound.
"""

from __future__ import annotations

import csv
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import InputError
from pipeline.io.files import atomic_write
from pipeline.io.tracking.tracker import RunDescription, RunStatus

if TYPE_CHECKING:
    from PIL.Image import Image

HEADER = ("step", "metric", "value")
_log = logging.getLogger(__name__)


class CsvTracker:
    """One run in a folder; `last_steps` of metrics that an interrupted run has logged are not logged again."""

    def __init__(self, folder: Path, run: RunDescription, last_steps: Mapping[str, int]):
        self._folder, self._run, self._last_steps = folder, run, last_steps
        self._warned = False
        self._table = (folder / "metrics.csv").open("a", newline="", encoding="utf-8", buffering=1)
        self._rows = csv.writer(self._table, lineterminator="\n")

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        rows = [(step, name, repr(float(v))) for name, v in values.items() if step > self._last_steps.get(name, -1)]
        self._try(lambda: self._rows.writerows(rows))

    def image(self, picture: Image, key: str, step: int) -> None:
        path = self._folder / "images" / f"{_file_name(key)}-{step:06d}.png"

        def save() -> None:
            path.parent.mkdir(exist_ok=True)
            picture.save(path)

        self._try(save)

    def artifact(self, path: Path, folder: str | None) -> None:
        target = self._folder / "artifacts" / (folder or "")

        def copy() -> None:
            target.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            else:
                shutil.copy(path, target)

        self._try(copy)

    def close(self, status: RunStatus) -> None:
        self._try(self._table.close)
        self._try(lambda: _write_params(self._folder, self._run, status))

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            if not self._warned:
                _log.warning("logging to %s fails (%s); train.csv has all losses", self._folder, error.strerror)
            self._warned = True


def open_run(root: Path, run: RunDescription) -> CsvTracker:
    """A new folder, or that of the unfinished run that is continued; InputError when it cannot be written."""
    stem = _file_name(f"{run.experiment}-{run.name}")
    home = root / ".work/tracking"
    try:
        folder = next(home / name for name in _names(stem) if _is_free(home / name, run))
        folder.mkdir(parents=True, exist_ok=True)
        last_steps = _last_steps(folder / "metrics.csv")
        _write_params(folder, run, "RUNNING")
        return CsvTracker(folder, run, last_steps)
    except OSError as error:
        raise InputError(f"cannot write to {home}: {error.strerror}; check its permissions and space") from error


def _names(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem}-{number}" for number in count(2))


def _is_free(folder: Path, run: RunDescription) -> bool:
    """There is no run in this folder, or an unfinished one that `run` continues."""
    described = folder / "params.json"
    if not described.is_file():
        return not folder.exists()
    stored = atomic_write.read_json(described)
    key = run.continue_by
    return key is not None and stored["status"] != "FINISHED" and stored["tags"].get(key) == run.tags[key]


def _last_steps(table: Path) -> dict[str, int]:
    """The last step of each metric; the table is made when it is missing, and a row that a kill cut off is dropped."""
    text = table.read_text(encoding="utf-8") if table.is_file() else ""
    whole = text[: text.rfind("\n") + 1] or ",".join(HEADER) + "\n"
    if whole != text:
        atomic_write.write_text(table, whole)
    steps: dict[str, int] = {}
    for step, metric, _value in list(csv.reader(whole.splitlines()))[1:]:
        steps[metric] = max(int(step), steps.get(metric, -1))
    return steps


def _write_params(folder: Path, run: RunDescription, status: str) -> None:
    described = asdict(run)
    del described["continue_by"], described["deciding"]
    atomic_write.write_json(folder / "params.json", {**described, "status": status})


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-")
