"""Tracking with real MLflow: what is logged, what is continued, and that no training waits for it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from pipeline.core import params as params_module
from pipeline.core.errors import InputError, Interrupted, ServiceError
from pipeline.core.paths import Paths
from pipeline.core.records import MonitoringReport, Preview, StepReport
from pipeline.io import tracking
from pipeline.io.tracking import mlflow_store, mlflow_tags, mlflow_tracker
from pipeline.io.tracking.mlflow_tracker import MlflowTracker
from pipeline.io.tracking.tracked_run import TrackedRun
from pipeline.io.tracking.tracker import RunDescription
from tests.mlflow_store import server

ROOT = Path(__file__).parents[3]
PARAMS = params_module.load(ROOT / "params.yaml")
LINEAGE = "0123456789abcdef"


def report(step: int) -> StepReport:
    return StepReport(step, loss=1 / step, learning_rate=1e-4, gradient_norm=0.5, seconds=0.1, images_per_second=80.0)


def train(root: Path, steps: range, lineage_id: str = LINEAGE, then: BaseException | None = None, **more) -> None:
    """A training that only reports steps; ends with `then`."""
    with tracking.training_run(PARAMS, Paths(root, "sinomacrops"), lineage_id=lineage_id, **more) as run:
        for step in steps:
            run.step(report(step))
        if then:
            raise then


def interrupted(root: Path, steps: range, then: BaseException) -> None:
    with pytest.raises(type(then)):
        train(root, steps, then=then)


def all_runs(root: Path, experiment: str = "sinomacrops"):
    client = mlflow_store.connect(root)
    found = client.get_experiment_by_name(experiment)
    return client, client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"])


def logged_steps(client, run) -> list[int]:
    return [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")]


def test_a_training_logs_params_tags_and_every_step(project, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "fast-moa")
    monkeypatch.setenv("PALEO_FLOW_RUN_ID", "f00")
    train(project, range(1, 8))
    client, [run] = all_runs(project)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.learning_rate"] == "0.0003"
    assert "species.name" not in run.data.params and len(run.data.params) <= 14, "the cards of pictures show them all"
    everything = json.loads(Path(run.info.artifact_uri, "params.json").read_text(encoding="utf-8"))
    assert everything["species.name"] == "Sinomacrops bondei"
    assert run.data.params.items() <= everything.items() and len(everything) > 40
    tags = mlflow_tags.flat(run.data.tags)
    logged = {key: tags[key] for key in ("species", "lineage_id", "dvc_experiment", "prefect_flow_run_id")}
    assert logged == {
        "species": "sinomacrops",
        "lineage_id": LINEAGE,
        "dvc_experiment": "fast-moa",
        "prefect_flow_run_id": "f00",
    }
    assert logged_steps(client, run) == list(range(1, 8))
    assert set(run.data.metrics) == {
        "loss",
        "learning_rate",
        "gradient_norm",
        "seconds_per_step",
        "images_per_second",
        "memory_mb",
    }


def monitoring(step: int) -> MonitoringReport:
    sink = io.BytesIO()
    Image.new("RGB", (8, 8), (step, 0, 0)).save(sink, "PNG")
    previews = tuple(Preview(1, "翼 rex: flying/low", seed, sink.getvalue()) for seed in (1, 2))
    return MonitoringReport(
        step, {62: 1 / (step + 1), 437: 3 / (step + 1)}, before={62: 1.0, 437: 3.0}, previews=previews
    )


def monitor(root: Path, steps: list[int], then: BaseException | None = None, **more) -> None:
    """A training that only monitors."""
    with tracking.training_run(PARAMS, Paths(root, "sinomacrops"), lineage_id=LINEAGE, **more) as run:
        for step in steps:
            run.monitoring(monitoring(step))
        run.timing({"steps": 2.0, "steps/forward": 1.5, "drawing prior pictures": 0.5}, 9)
        if then:
            raise then


def test_monitoring_logs_losses_by_timestep_and_previews_with_a_slider(project):
    monitor(project, [0, 50])
    client, [run] = all_runs(project)
    assert run.data.metrics == pytest.approx(
        {
            "held_out/loss": 2 / 51,
            "held_out/relative": 1 / 51,
            "held_out/t_0062": 1 / 51,
            "held_out/t_0437": 3 / 51,
            "seconds/steps": 2.0,
            "seconds/steps_forward": 1.5,
            "seconds/drawing_prior_pictures": 0.5,
        }
    )
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "held_out/t_0437")] == [0, 50]
    names = [Path(item.path).name for item in client.list_artifacts(run.info.run_id, "images")]
    full = sorted(name.partition("+timestamp")[0] for name in names if name.endswith(".png"))
    assert full == [f"preview~01 _ rex_ flying_low s{seed}+step+{step}" for seed in (1, 2) for step in (0, 50)]


def test_no_monitoring_report_is_logged_twice(project):
    with pytest.raises(Interrupted):
        monitor(project, [0, 50], Interrupted("saved"))
    monitor(project, [0, 50, 250], resumed_from=60)
    client, [run] = all_runs(project)
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "held_out/loss")] == [0, 50, 250]
    pictures = [item for item in client.list_artifacts(run.info.run_id, "images") if item.path.endswith(".png")]
    assert len(pictures) == 6


def test_the_code_is_named_by_commit_and_whether_it_was_changed(project):
    (project / "code.py").write_text("first")
    for command in (["init", "-q"], ["add", "code.py"], ["commit", "-q", "-m", "first"]):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *command], cwd=project, check=True)
    (project / "code.py").write_text("changed")
    train(project, range(1, 2))
    _, [run] = all_runs(project)
    tags = mlflow_tags.flat(run.data.tags)
    assert len(tags["git_commit"]) == 40
    assert tags["git_dirty"] == "true"


def test_pictures_and_files_lie_in_the_projects_folder(project):
    (project / "note.txt").write_text("found")
    with tracking.run(project, RunDescription("pretrain", "base", {"seed": "0"})) as run:
        run.image(Image.new("RGB", (8, 8)), "sample/0", 100)
        run.artifact(project / "note.txt", "notes")
        run.metrics({"vae.loss": 0.5}, 100)
    client, [stored] = all_runs(project, "pretrain")
    assert stored.info.artifact_uri == str(project / "mlartifacts/pretrain" / stored.info.run_id / "artifacts")
    assert Path(stored.info.artifact_uri, "notes/note.txt").read_text() == "found"
    assert any("sample~0+step+100" in item.path for item in client.list_artifacts(stored.info.run_id, "images"))
    assert stored.data.metrics == {"vae.loss": 0.5}


@pytest.mark.parametrize("end", [Interrupted("saved"), KeyboardInterrupt(), ValueError("bug")])
def test_an_unfinished_training_is_continued_in_its_own_run(project, end):
    interrupted(project, range(1, 6), end)
    _, [stopped] = all_runs(project)
    assert stopped.info.status == ("FAILED" if isinstance(end, ValueError) else "KILLED")
    train(project, range(4, 9), resumed_from=3)
    client, [run] = all_runs(project)
    assert run.info.status == "FINISHED"
    assert run.data.tags["resumed_from"] == "3"
    assert logged_steps(client, run) == list(range(1, 9)), "steps logged before are not logged twice"


def test_a_killed_process_is_continued_too(project):
    code = (
        "import os, sys, time; from tests.io.tracking.test_mlflow_tracker import *\n"
        "with tracking.training_run(PARAMS, Paths(Path(sys.argv[1]), 'sinomacrops'), lineage_id=LINEAGE) as run:\n"
        "    run.step(report(1)); time.sleep(3); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, project], cwd=ROOT, check=False).returncode == -9
    assert all_runs(project)[1][0].info.status == "RUNNING"
    train(project, range(1, 4), resumed_from=0)
    client, [run] = all_runs(project)
    assert (run.info.status, logged_steps(client, run)) == ("FINISHED", [1, 2, 3])


def test_a_finished_or_different_training_gets_a_new_run(project):
    train(project, range(1, 2))
    train(project, range(1, 2))
    train(project, range(1, 2), lineage_id="f" * 16)
    assert len(all_runs(project)[1]) == 3


def test_other_processes_of_a_training_log_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv(mlflow_store.URI, raising=False)
    train(tmp_path, range(1, 3), main_process=False)
    assert not (tmp_path / "mlflow.db").exists()


class Client:
    """Stands in for MLflow's client: refuses so many times, or blocks until it is released."""

    def __init__(self, refusals: int = 0):
        self.refusals, self.released, self.sent, self.ended = refusals, threading.Event(), [], []
        self.released.set()

    def log_batch(self, run_id, metrics):
        from mlflow.exceptions import MlflowException

        self.released.wait()
        if self.refusals:
            self.refusals -= 1
            raise MlflowException("not now")
        self.sent += [(metric.key, metric.step) for metric in metrics]

    def set_terminated(self, run_id, status):
        self.ended.append(status)


def test_a_step_never_waits_for_the_store(monkeypatch):
    monkeypatch.setattr(mlflow_tracker, "PAUSE_S", 0.01)
    client = Client()
    client.released.clear()
    run = TrackedRun([MlflowTracker(client, "r")])
    for step in range(1, 2001):
        run.step(report(step))
    assert client.sent == [], "the store has not answered yet, and the steps are over"
    client.released.set()
    run.close("FINISHED")
    assert [step for key, step in client.sent if key == "loss"] == list(range(1, 2001))
    assert client.ended == ["FINISHED"]


def test_numbers_wait_for_a_store_in_trouble(monkeypatch, caplog):
    monkeypatch.setattr(mlflow_tracker, "PAUSE_S", 0.01)
    client = Client(refusals=2)
    run = TrackedRun([MlflowTracker(client, "r")])
    run.step(report(1))
    while client.refusals:
        pass
    run.step(report(2))
    run.close("FINISHED")
    assert [step for key, step in client.sent if key == "loss"] == [1, 2]
    assert [record.message for record in caplog.records] == ["logging to MLflow fails for now: not now"]


def test_a_store_that_is_gone_at_the_end_is_a_warning(caplog):
    run = TrackedRun([MlflowTracker(Client(refusals=99), "r")])
    run.step(report(1))
    run.close("FINISHED")
    assert "train.csv has them all" in caplog.text


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://user:secret@127.0.0.1:9"])
def test_a_store_that_does_not_answer_is_one_sentence_before_the_training(project, monkeypatch, address):
    monkeypatch.setenv(mlflow_store.URI, address)
    sentence = r"does not answer; start it \(`paleo up`\), or unset MLFLOW_TRACKING_URI"
    with pytest.raises(ServiceError, match=sentence) as raised:
        train(project, range(1, 2))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("./mlruns", "refuses: The filesystem tracking backend"),
        ("nonsense://x", "refuses: .*unsupported URI"),
        ("postgresql+nodriver://u:p@127.0.0.1/x", "refuses: "),
        ("sqlite:////proc/none/mlflow.db", "cannot be used"),
    ],
)
def test_an_address_that_is_no_store_is_one_sentence(project, monkeypatch, uri, sentence):
    monkeypatch.setenv(mlflow_store.URI, uri)
    with pytest.raises(ServiceError, match=sentence):
        mlflow_store.connect(project)


@pytest.mark.parametrize("broken", ["folder", "text"])
def test_an_unusable_embedded_store_is_one_sentence(tmp_path, monkeypatch, broken):
    monkeypatch.delenv(mlflow_store.URI, raising=False)
    (tmp_path / "mlflow.db").mkdir() if broken == "folder" else (tmp_path / "mlflow.db").write_text("no database" * 99)
    with pytest.raises(ServiceError, match=r"mlflow\.db cannot be used .*; make the file writable"):
        mlflow_store.connect(tmp_path)


def test_a_deleted_experiment_is_one_sentence(project):
    train(project, range(1, 2))
    client, [run] = all_runs(project)
    client.delete_experiment(run.info.experiment_id)
    with pytest.raises(InputError, match="experiment 'sinomacrops' was deleted; restore it with"):
        train(project, range(1, 2))


def test_two_trainings_may_make_the_store_at_once(tmp_path, monkeypatch):
    monkeypatch.delenv(mlflow_store.URI, raising=False)
    code = (
        "import sys\nfrom tests.io.tracking.test_mlflow_tracker import *\n"
        "train(Path(sys.argv[1]), range(1, 9), sys.argv[2])"
    )
    command = [sys.executable, "-c", code, tmp_path]
    both = [subprocess.Popen([*command, lineage], cwd=ROOT) for lineage in ("a" * 16, "b" * 16)]
    assert [process.wait() for process in both] == [0, 0]
    client, runs = all_runs(tmp_path)
    assert [logged_steps(client, run) for run in runs] == [list(range(1, 9))] * 2


def test_a_server_over_the_same_store_shares_every_artifact(project, monkeypatch):
    (project / "note.txt").write_text("found")
    with server(project) as address:
        for uri, experiment in ((address, "through-server"), ("", "direct")):
            monkeypatch.setenv(mlflow_store.URI, uri)
            for name in (address, ""):
                monkeypatch.setenv(mlflow_store.URI, name)
                with tracking.run(project, RunDescription(experiment, name or "direct")) as run:
                    run.artifact(project / "note.txt")
        for uri in (address, ""):
            monkeypatch.setenv(mlflow_store.URI, uri)
            for experiment in ("through-server", "direct"):
                client, runs = all_runs(project, experiment)
                assert len(runs) == 2
                for run in runs:
                    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["note.txt"]
                    assert Path(client.download_artifacts(run.info.run_id, "note.txt")).read_text() == "found"
