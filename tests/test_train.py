"""The stage `train`: what it writes, what it refuses, and that no kill changes a byte of it."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import weakref
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pandas as pd
import pytest
from safetensors import safe_open

from pipeline import train as stage
from pipeline.core.errors import GateError, InputError, Interrupted, ParamsError
from pipeline.io import tracking
from tests import tiny_models
from tests.conftest import copy_store
from tests.project import ROOT, environment
from tests.training import world

MONITOR_OFF = {"monitor": {"timesteps": 0, "prompts": []}}
MONITOR = {"timesteps": 1, "pictures": 1, "prompts": ["{name}"], "seeds": [1], "steps": 2}
LONG = {"steps": 40, "snapshots": [3, 40], "save_every_steps": 5, "monitor": MONITOR}


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny_models.write_sd(tmp_path_factory.mktemp("base") / "sd")


@pytest.fixture
def paths(tmp_path, base):
    return world.make_project(tmp_path, base)


@pytest.fixture
def untracked(monkeypatch):
    """Without MLflow, which is tested elsewhere; returns with what each run was opened."""
    opened_runs = []

    @contextmanager
    def null_run(params, paths, **opened):
        opened_runs.append(opened)
        yield tracking.TrackedRun()

    monkeypatch.setattr(tracking, "training_run", null_run)
    return opened_runs


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _train(paths):
    return stage.train(world.load(paths), paths)


def test_what_it_writes(paths, untracked):
    report = _train(paths)
    card = json.loads((paths.model / "card.json").read_text())
    assert card["snapshots"] == [{"step": 2, "path": "step-000002"}, {"step": 6, "path": "step-000006"}]
    assert card["trigger"] == card["name"] == "Raphus cucullatus" and card["dataset_digest"] == "d1"
    assert {"family", "method", "base", "base_digest", "lineage_id", "steps", "params"} <= set(card)
    assert (paths.model / "step-000006" / "model_index.json").is_file()
    table = pd.read_csv(paths.model / "train.csv")
    assert list(table.columns) == ["step", "loss", "learning_rate", "gradient_norm"]
    assert table["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert "6 steps (dreambooth) on 5 pictures" in report.lines[0]
    assert "snapshots 2, 6 in models/dodo" in report.lines[0]
    assert not list((paths.work / "train").iterdir()), "finished work must be removed"


@pytest.mark.parametrize("method", ["dreambooth", "lora"])
def test_twice_the_same_bytes_with_a_cold_and_a_warm_cache(paths, untracked, method):
    world.change(paths, method=method)
    _train(paths)
    first = _files(paths.model)
    _train(paths)
    assert _files(paths.model) == first


def test_the_lineage_follows_what_decides_the_weights_and_nothing_else(paths, untracked):
    def lineage(**changes):
        return stage._training_run(world.change(paths, **changes), paths).metadata["lineage_id"]

    first = lineage()
    assert lineage(save_every_steps=1) == first
    assert lineage(learning_rate=2e-3) != first


def test_every_sentence_has_the_name_in_it(paths):
    frame = pd.read_parquet(paths.curated / "metadata.parquet")
    frame.loc[0, "caption"] = "Two RAPHUS CUCULLATUS by the sea"
    frame.to_parquet(paths.curated / "metadata.parquet")
    captions = [picture.caption for picture in stage._training_run(world.load(paths), paths).pictures]
    assert captions[:2] == ["Two RAPHUS CUCULLATUS by the sea", "Raphus cucullatus, a painting number 1"]
    assert len(captions) == 5, "held-out pictures are never trained on"


def _verdict(paths, **changes):
    path = paths.validation / "verdict.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_nothing_is_trained_without_a_verdict_that_passed(paths):
    _verdict(paths, dataset_digest="older")
    with pytest.raises(GateError, match="dodo changed after it was validated; run `paleo validate dodo` again"):
        _train(paths)
    _verdict(paths, success=False, stopped=["licence", "unique"])
    with pytest.raises(GateError, match="dodo is not trained: its data set was refused \\(licence, unique\\)"):
        _train(paths)
    (paths.validation / "verdict.json").unlink()
    with pytest.raises(GateError, match="dodo was not validated, so not trained on; run `paleo validate dodo`"):
        _train(paths)
    assert not paths.model.exists()


def test_wrong_params_are_refused_in_a_sentence(paths):
    with pytest.raises(ParamsError, match="'dreamboth', which is not known; did you mean 'dreambooth'"):
        stage.train(world.change(paths, method="dreamboth"), paths)
    with pytest.raises(ParamsError, match="train.optimiser is 'adamm', which is not known; did you mean 'adamw'"):
        stage.train(world.change(paths, method="lora", optimiser="adamm"), paths)
    with pytest.raises(ParamsError, match="train.lr_schedule is 'cosin', which is not known; did you mean 'cosine'"):
        stage.train(world.change(paths, optimiser="adamw", lr_schedule="cosin"), paths)
    world.change(paths, lr_schedule="cosine")
    with pytest.raises(ParamsError, match=r"snapshots is \[3, 9\]: step 9 is never reached, since train.steps is 6"):
        world.change(paths, method="lora", snapshots=[3, 9])
    params = world.change(paths, snapshots=[6])
    for wrong, error, words in (
        ({"path": "base_models/none"}, InputError, "'base_models/none' is not there; download it"),
        ({"family": "sd3"}, ParamsError, "base.family is 'sd3', which is not known; did you mean 'sd'"),
    ):
        with pytest.raises(error, match=words):
            stage.train(params.model_copy(update={"base": params.base.model_copy(update=wrong)}), paths)


def test_a_missing_picture_and_an_empty_data_set_are_reported(paths):
    frame = pd.read_parquet(paths.curated / "metadata.parquet")
    (paths.curated / frame.file_name[1]).unlink()
    with pytest.raises(InputError, match="0001.png cannot be read"):
        _train(paths)
    frame.assign(split="holdout").to_parquet(paths.curated / "metadata.parquet")
    with pytest.raises(InputError, match="has no picture to train on; run `paleo curate dodo`"):
        _train(paths)


def test_an_earlier_result_outlives_a_failed_training(paths, untracked, monkeypatch):
    _train(paths)
    before = _files(paths.model)
    world.change(paths, learning_rate=1e30, warmup_steps=0)
    with pytest.raises(Exception, match="lower train.learning_rate"):
        _train(paths)
    assert _files(paths.model) == before


def test_a_signal_during_training_saves_the_state(paths, untracked, monkeypatch):
    world.change(paths, **LONG)
    with monkeypatch.context() as patch:
        patch.setattr(stage.training_console, "training_progress", lambda *_, **__: nullcontext(_signal_at(7)))
        _interrupted_at_7(paths)
    _train(paths)
    assert [opened["resumed_from"] for opened in untracked] == [None, 7]


def test_an_unfinished_training_is_continued_or_the_reason_is_named(paths, untracked, monkeypatch, capsys):
    monkeypatch.setattr(stage, "code_digest", lambda entries: "c")  # the code may be edited meanwhile
    with pytest.raises(InputError, match="there is no unfinished training of dodo; run it without --resume to start"):
        stage.train(world.change(paths, **MONITOR_OFF), paths, resume=True)
    _stopped_at_2(paths, monkeypatch)
    reason = (
        "unfinished training of dodo (step 2 of 6) is not continued: train.learning_rate was 0.001 and is 0.002; change"
    )
    with pytest.raises(InputError, match=f"{re.escape(reason)} it back .*; nothing was started"):
        stage.train(world.change(paths, learning_rate=2e-3), paths, resume=True)
    assert len(_started(paths)) == 1
    capsys.readouterr()
    _stopped_at_2(paths, monkeypatch)
    assert reason in capsys.readouterr().out and len(_started(paths)) == 2
    stage.train(world.change(paths, learning_rate=1e-3), paths, resume=True)
    output = capsys.readouterr().out
    assert "continuing from step 2 of 6" in output and "is not continued" not in output
    assert len(_started(paths)) == 1, "the other one is still there"


def _stopped_at_2(paths, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(stage.training_console, "training_progress", lambda *_, **__: nullcontext(_signal_at(2)))
        _train(paths)


def _started(paths) -> list[Path]:
    return list((paths.work / "train").iterdir())


def _interrupted_at_7(paths):
    with pytest.raises(Interrupted, match="interrupted at step 7 of 40; saved; run again to continue") as stopped:
        _train(paths)
    assert stopped.value.exit_code == 75 and not paths.model.exists()


def test_a_signal_during_preparation_ends_it_and_keeps_the_cache(paths, untracked, monkeypatch):
    reported = []

    def on_progress(what, done, total):
        reported.append((what, done))
        if (what, done) == ("encoding pictures", 2):
            os.kill(os.getpid(), signal.SIGTERM)

    message = "^interrupted while preparing; what is encoded is kept; run again to continue$"
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match=message) as stopped:
        patch.setattr(stage.training_console, "preparation_progress", lambda *_, **__: nullcontext(on_progress))
        _train(paths)
    assert reported[-1] == ("encoding pictures", 2) and stopped.value.exit_code == 75
    assert len(list((paths.work / "cache/latents").iterdir())) == 2
    _train(paths)
    assert paths.model.exists()


def test_no_process_waits_for_one_that_is_stopped_while_preparing(paths, tracked):
    """Only the second one gets the signal, while the first one works and it waits."""
    world.change(paths, steps=2, snapshots=[2])
    children = _launched(paths, n_processes=2)
    end = time.monotonic() + 120
    while not list(paths.work.glob("cache/latents/*.safetensors")):
        assert time.monotonic() < end
        time.sleep(0.005)
    children[1].send_signal(signal.SIGTERM)
    outputs = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [75, 75], outputs
    assert all("interrupted while preparing" in output and "Traceback" not in output for output in outputs), outputs


def test_during_training_no_picture_is_kept_in_memory(paths, untracked, monkeypatch):
    pictures, left, original = [], [], stage._training_run

    def watched(*arguments):
        run = original(*arguments)
        pictures.extend(weakref.ref(picture) for picture in (*run.pictures, *run.holdout))
        return run

    def report(_):
        gc.collect()
        left.append([picture().file_name for picture in pictures if picture()])

    world.change(paths, steps=1, snapshots=[1], monitor=MONITOR)
    monkeypatch.setattr(stage, "_training_run", watched)
    monkeypatch.setattr(stage.training_console, "training_progress", lambda *_, **__: nullcontext(report))
    _train(paths)
    assert len(pictures) == 6 and len(left) == 3 and not any(left), (
        "two monitored steps and an optimiser step, and nothing left at any of them"
    )


def _signal_at(step: int):
    return lambda report: os.kill(os.getpid(), signal.SIGTERM) if report.step == step else None


# --- in processes of their own ---


@pytest.fixture
def tracked(paths, empty_store):
    copy_store(empty_store, paths.root)
    world.change(paths, **LONG)
    return paths


def _start(paths, **extra: str) -> subprocess.Popen:
    command = (sys.executable, "-m", "pipeline", "train", "dodo")
    return subprocess.Popen(
        command,
        cwd=paths.root,
        env={**environment(ROOT), **extra},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _wait_for_state(paths, child: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not list(paths.work.glob("train/*/state-*.safetensors")):
        assert child.poll() is None and time.monotonic() < end, child.stdout.read()
        time.sleep(0.02)


def test_a_killed_stopped_and_resumed_training_gives_the_bytes_of_an_uninterrupted_one(
    tracked, untracked, tmp_path_factory
):
    killed = _start(tracked)
    _wait_for_state(tracked, killed)
    killed.kill()
    killed.wait()
    assert not tracked.model.exists() and len(list(tracked.work.glob("train/*/state-*"))) >= 1

    stopped = _start(tracked)
    _wait_for_line(stopped, "continuing from step")
    stopped.send_signal(signal.SIGTERM)
    output = stopped.communicate(timeout=120)[0]
    assert stopped.returncode == 75, output
    assert "saved; run again to continue" in output and "Traceback" not in output

    _train(tracked)
    broken = _files(tracked.model)
    _train(tracked)
    assert _files(tracked.model) == broken


def _wait_for_line(child: subprocess.Popen, text: str) -> None:
    for line in child.stdout:
        if text in line:
            return
    pytest.fail(f"{text!r} was not printed")


def test_two_processes_with_accumulated_gradients_get_the_same_losses(tracked, untracked):
    """Each of the four slots is computed apart: a rank that repeated another's noise would have other losses."""
    world.change(tracked, steps=6, snapshots=[6])
    output = _launch(tracked, n_processes=2, ACCELERATE_GRADIENT_ACCUMULATION_STEPS="2")
    assert output.count("6 steps (dreambooth)") == 1, "the main process alone reports"
    shared = pd.read_csv(tracked.model / "train.csv")
    _train(tracked)
    alone = pd.read_csv(tracked.model / "train.csv")
    pd.testing.assert_frame_equal(shared, alone, atol=1e-5, rtol=1e-4)


def _launch(paths, n_processes: int, **extra: str) -> str:
    """The environment that torchrun and accelerate give their children, without the launchers."""
    children = _launched(paths, n_processes, **extra)
    output = "".join(child.communicate(timeout=180)[0] for child in children)
    assert [child.returncode for child in children] == [0] * n_processes, output
    return output


def _launched(paths, n_processes: int, **extra: str) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world_of = {
        "WORLD_SIZE": str(n_processes),
        "LOCAL_WORLD_SIZE": str(n_processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "ACCELERATE_USE_CPU": "true",
    }
    ranks = [str(rank) for rank in range(n_processes)]
    return [_start(paths, **world_of, **extra, RANK=rank, LOCAL_RANK=rank) for rank in ranks]


def test_every_snapshot_has_its_provenance_in_the_header(paths, untracked):
    _train(paths)
    with safe_open(paths.model / "step-000002/unet/diffusion_pytorch_model.safetensors", "pt") as opened:
        header = opened.metadata()
    card = json.loads((paths.model / "card.json").read_text())
    assert header["step"] == "2" and header["trigger"] == "Raphus cucullatus" and header["species"] == "dodo"
    for name in ("lineage_id", "base_digest", "dataset_digest", "licences_digest", "method", "family"):
        assert header[name] == card[name]
    assert header["base"] == "sd", "the name of a base outside the project, not a path of this machine"


def test_the_digest_of_the_licences_follows_the_training_pictures_only(paths):
    frame = pd.read_parquet(paths.curated / "metadata.parquet").assign(licence="CC0-1.0", author="Ada")
    digests = []
    for row, licence in ((0, "CC0-1.0"), (0, "CC-BY-4.0"), (5, "CC-BY-4.0")):  # the last one is held out
        changed = frame.copy()
        changed.loc[row, "licence"] = licence
        changed.sample(frac=1, random_state=row).to_parquet(paths.curated / "metadata.parquet")
        digests.append(stage._licences(paths))
    assert digests[0] == digests[2] != digests[1]
