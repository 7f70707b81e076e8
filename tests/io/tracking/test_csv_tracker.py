"""The CSV tracker: its files, what is continued, and several trackers at once."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pipeline.core.errors import InputError, Interrupted, ParamsError, ServiceError
from pipeline.core.paths import Paths
from pipeline.io import tracking
from pipeline.io.tracking import csv_tracker, mlflow_store
from pipeline.io.tracking.tracker import RunDescription
from tests.io.tracking.test_mlflow_tracker import LINEAGE, PARAMS, all_runs, logged_steps, monitoring, report

NAME = "sinomacrops-dreambooth-01234567"


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(tracking.CHOSEN, "csv")
    return tmp_path


def train(root: Path, steps: range, then: BaseException | None = None, **more) -> None:
    with tracking.training_run(PARAMS, Paths(root, "sinomacrops"), lineage_id=LINEAGE, **more) as run:
        for step in steps:
            run.step(report(step))
        if then:
            raise then


def rows(root: Path, name: str = NAME) -> list[dict[str, str]]:
    with (root / ".work/tracking" / name / "metrics.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def described(root: Path, name: str = NAME) -> dict:
    return json.loads((root / ".work/tracking" / name / "params.json").read_text(encoding="utf-8"))


def losses(root: Path, name: str = NAME) -> list[tuple[int, float]]:
    return [(int(row["step"]), float(row["value"])) for row in rows(root, name) if row["metric"] == "loss"]


def test_a_training_is_a_table_and_a_description(root):
    train(root, range(1, 4))
    assert losses(root) == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]
    assert {row["metric"] for row in rows(root)} == {
        "loss",
        "learning_rate",
        "gradient_norm",
        "seconds_per_step",
        "images_per_second",
        "memory_mb",
    }
    stored = described(root)
    assert (stored["experiment"], stored["name"], stored["status"]) == (
        "sinomacrops",
        "dreambooth 01234567",
        "FINISHED",
    )
    assert stored["params"]["train.learning_rate"] == "0.0003"
    assert stored["tags"]["lineage_id"] == LINEAGE
    assert not (root / "mlflow.db").exists(), "MLflow is not used"


def test_images_and_artifacts_lie_beside_the_table(root):
    (root / "note.txt").write_text("a note")
    (root / "pages").mkdir()
    (root / "pages/index.html").write_text("a page")
    with tracking.training_run(PARAMS, Paths(root, "sinomacrops"), lineage_id=LINEAGE) as run:
        run.monitoring(monitoring(50))
        run.artifact(root / "note.txt", "notes")
        run.artifact(root / "pages")
    folder = root / ".work/tracking" / NAME
    assert [path.name for path in sorted((folder / "images").iterdir())] == [
        f"preview-01-_-rex_-flying_low-s{seed}-000050.png" for seed in (1, 2)
    ]
    assert (folder / "artifacts/notes/note.txt").read_text() == "a note"
    assert (folder / "artifacts/index.html").read_text() == "a page"


def test_an_unfinished_training_is_continued_without_a_number_twice(root):
    with pytest.raises(Interrupted):
        train(root, range(1, 6), Interrupted("saved"))
    assert described(root)["status"] == "KILLED"
    table = root / ".work/tracking" / NAME / "metrics.csv"
    table.write_text(table.read_text() + "6,lo")  # a row that was cut off by a kill
    train(root, range(4, 9), resumed_from=3)
    assert [step for step, _ in losses(root)] == list(range(1, 9))
    assert (described(root)["status"], described(root)["tags"]["resumed_from"]) == ("FINISHED", "3")


def test_a_finished_training_gets_a_new_folder(root):
    train(root, range(1, 3))
    train(root, range(1, 2))
    assert len(losses(root)) == 2 and len(losses(root, f"{NAME}-2")) == 1


def test_a_full_disk_is_one_warning(root, caplog):
    run = csv_tracker.open_run(root, RunDescription("e", "r"))

    class FullDisk:
        def writerows(self, _rows):
            raise OSError(28, "No space left on device")

    run._rows = FullDisk()
    run.metrics({"loss": 1.0}, 1)
    run.metrics({"loss": 1.0}, 2)
    run.close("FINISHED")
    [record] = caplog.records
    assert "No space left on device" in record.message and "train.csv has all losses" in record.message


def test_a_folder_that_cannot_be_made_is_one_sentence_before_the_training(root):
    (root / ".work").write_text("")
    with pytest.raises(InputError, match=r"cannot write to .*\.work/tracking: "):
        train(root, range(1, 2))


def test_several_trackers_get_the_same_numbers(project, monkeypatch):
    monkeypatch.setenv(tracking.CHOSEN, "mlflow, csv")
    train(project, range(1, 4))
    client, [run] = all_runs(project)
    assert logged_steps(client, run) == [step for step, _ in losses(project)] == [1, 2, 3]
    assert run.info.status == described(project)["status"] == "FINISHED"


def test_a_tracker_that_cannot_be_opened_closes_the_others(project, monkeypatch):
    monkeypatch.setenv(tracking.CHOSEN, "csv,mlflow")
    monkeypatch.setenv(mlflow_store.URI, "http://127.0.0.1:9")
    with pytest.raises(ServiceError, match="does not answer"):
        train(project, range(1, 2))
    assert described(project)["status"] == "FAILED"


def test_an_unknown_tracker_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv(tracking.CHOSEN, "csv,mlfow")
    with pytest.raises(ParamsError, match="PALEO_TRACKERS is 'mlfow', which is not known; did you mean 'mlflow'?"):
        train(tmp_path, range(1, 2))
    assert not (tmp_path / ".work").exists()
