"""A tracker is one new file and one line: a plugin written here logs a whole training run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pipeline.core.paths import Paths
from pipeline.io import tracking
from tests.io.tracking.test_mlflow_tracker import LINEAGE, PARAMS, monitoring, report

ROOT = Path(__file__).parents[2]
PLUGIN = '''
"""A tracker that writes what it is given into a text file."""

from pathlib import Path

from pipeline.io.tracking.tracker import RunDescription, RunStatus


class TextTracker:
    def __init__(self, path: Path):
        self._path = path

    def metrics(self, values, step):
        self._write(f"{step}: {', '.join(values)}")

    def image(self, picture, key, step):
        self._write(f"{step}: image {key} of {picture.width} px")

    def artifact(self, path, folder):
        self._write(f"artifact {path.name}")

    def close(self, status: RunStatus):
        self._write(status)

    def _write(self, line):
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\\n")


def open_run(root: Path, run: RunDescription) -> TextTracker:
    tracker = TextTracker(root / "run.txt")
    tracker._write(f"{run.experiment}, {run.name}, {run.params['train.method']}")
    return tracker
'''


def test_a_new_tracker_is_one_file_and_one_line(tmp_path, monkeypatch):
    (tmp_path / "text_tracker.py").write_text(PLUGIN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(tracking.TRACKERS, "text", "text_tracker:open_run")
    monkeypatch.setenv(tracking.CHOSEN, "text")
    with tracking.training_run(PARAMS, Paths(tmp_path, "sinomacrops"), lineage_id=LINEAGE) as run:
        run.step(report(1))
        run.monitoring(monitoring(1))
        run.timing({"steps": 2.0}, 1)
        run.artifact(tmp_path / "text_tracker.py")
    lines = (tmp_path / "run.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [
        "sinomacrops, dreambooth 01234567, dreambooth",
        "1: loss, learning_rate, gradient_norm, images_per_second, memory_mb, seconds_per_step",
        "1: held_out/loss, held_out/relative, held_out/t_0062, held_out/t_0437",
        *(f"1: image preview/01 _ rex_ flying_low s{seed} of 8 px" for seed in (1, 2)),
        "1: seconds/steps",
        "artifact text_tracker.py",
        "FINISHED",
    ]


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_nobody_else_imports_a_tracker_to_track_with_it(name):
    """But the registry of MLflow, which is no tracker, sends metrics in batches of the same size."""
    module = tracking.TRACKERS[name].partition(":")[0]
    importers = {
        path.relative_to(ROOT).as_posix()
        for folder in ("pipeline", "flows")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == module
    }
    assert importers <= {"pipeline/io/tracking/mlflow_release.py"}
