"""Failures in a training: NaN, full disks, processes that disagree; without a model, so that a step costs nothing."""

import errno
import os
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from pipeline.core.errors import Interrupted, PaleoError
from pipeline.families import family
from pipeline.families.model_components import ModelComponents
from pipeline.methods.trainable import Trainable
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.loop import LoopSettings, TrainingJob, train_to_end
from pipeline.training.nan_guard import may_skip_step
from tests.training.test_loop import Recorder


class Line:
    """y = w x, trained on one slot for each of the four numbers of a step."""

    def __init__(self, folder: Path, xs=lambda step: (1.0, 2.0, 3.0, 4.0), **settings):
        self.module, self.store = nn.Linear(1, 1, bias=False), CheckpointStore(folder, "x")
        nn.init.zeros_(self.module.weight)
        self.components = ModelComponents(
            family("sd"), folder, self.module, None, (), (), {}, torch.device("cpu"), torch.float32
        )
        self.xs, self.monitored = xs, []
        defaults = {"steps": 6, "batch_size": 4, "snapshots": (), "save_every_steps": 1, "max_gradient_norm": 1e9}
        self.settings = LoopSettings(**{**defaults, "learning_rate": lambda step: 0.01, **settings})

    def run(self, recorder: Recorder | None = None) -> list[float]:
        job = TrainingJob(
            Trainable(self.components, {"unet": self.module}),
            self._loss,
            self._optimiser,
            self.settings,
            write_snapshot=lambda folder, step: (folder / "w").write_text(str(self.module.weight.item())),
            examples_of=lambda step: [f"{x}.png" for x in self.xs(step)],
            monitor=lambda step: self.monitored.append(self.module.weight.item()),
        )
        return [
            row[0]
            for row in train_to_end(job, Accelerator(cpu=True), self.store, (recorder or Recorder()).hooks).history
        ]

    def _loss(self, components, step, slots):
        x = torch.tensor([[self.xs(step)[slot]] for slot in slots])
        return ((self.module(x) - 2 * x) ** 2).mean()

    def _optimiser(self, trainable):
        return torch.optim.SGD(trainable.optimiser_groups(0.0), lr=0.01)


def _bad_at(step: int):
    return lambda now: (1.0, float("nan") if now == step else 2.0, 3.0, 4.0)


def test_the_picture_with_a_non_finite_loss_is_named_and_nothing_of_that_step_is_saved(tmp_path):
    line = Line(tmp_path / "line", xs=_bad_at(3))
    with pytest.raises(
        PaleoError,
        match="^the loss of step 4 is nan, because of nan.png; remove it from the pictures, "
        "or lower train.learning_rate; the state of step 3 is as it was$",
    ):
        line.run()
    assert line.store.newest_intact_step(()) == 3 and line.module.weight.isfinite(), (
        "it ended before the weights were spoilt"
    )


def test_a_non_finite_gradient_ends_the_training_though_the_loss_is_finite(tmp_path):
    line = Line(tmp_path / "line")
    line.module.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(
        PaleoError, match="^the gradient of step 1 is inf .its examples: 1.0.png, .*; lower train.learning_"
    ):
        line.run()
    assert line.store.newest_intact_step(()) is None and line.module.weight.item() == 0.0


def test_weights_are_checked_before_they_are_written(tmp_path, monkeypatch):
    """On a GPU numbers are read late; here the weights are spoilt, though every number so far was finite."""
    line = Line(tmp_path / "line", learning_rate=lambda step: float("inf") if step == 2 else 0.01, snapshots=(2, 3))
    with pytest.raises(PaleoError, match="step 3 made weights that are no finite numbers; lower train.learning_rate"):
        line.run()
    assert line.store.newest_intact_step((2,)) == 2 and not line.store.snapshot(3).exists() and len(line.monitored) == 2


def test_fp16_may_skip_steps_until_it_has_a_loss_scale_but_not_for_ever():
    scaler, bad = torch.amp.GradScaler("cpu"), float("inf")
    assert (
        may_skip_step([bad] * 9, scaler)
        and may_skip_step([bad] * 39 + [1.0], scaler)
        and not may_skip_step([bad] * 9, None)
    )
    assert not may_skip_step([1.0] + [bad] * 40, scaler)


def test_a_full_disk_is_logged_and_the_training_continues(tmp_path, monkeypatch):
    line, recorder, replace = Line(tmp_path / "line"), Recorder(), os.replace

    def full(source, target):
        if any(f"state-00000{step}" in str(target) for step in (3, 4)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert len(line.run(recorder)) == 6 and line.store.step == 5
    message = "could not be saved (No space left on device); that of step 2 is still there"
    assert recorder.logged == [f"the state of step {step} {message}" for step in (3, 4)]
    line.store.clear()
    with pytest.raises(Interrupted, match="interrupted at step 3 of 6; not saved; run again to continue"):
        Line(line.store.folder).run(Recorder(stop_at=3))
    assert line.store.newest_intact_step(()) == 2


def test_a_snapshot_that_cannot_be_written_ends_the_training_in_a_sentence(tmp_path, monkeypatch):
    line, original = Line(tmp_path / "line", snapshots=(3,)), Path.write_text

    def full(path, *arguments, **named):
        if path.name == "w":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return original(path, *arguments, **named)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(
        PaleoError,
        match="the snapshot of step 3 could not be written .*No space.*; make room and run "
        "again: it continues from step 2",
    ):
        line.run()


def test_snapshots_and_monitoring_use_the_ema_and_training_continues_with_the_trained_weights(tmp_path):
    averaged, plain = Line(tmp_path / "a", ema_decay=0.5, snapshots=(2, 6)), Line(tmp_path / "b", snapshots=(2, 6))
    assert averaged.run() == plain.run(), "the trained weights are the same"
    expected, weights = 0.0, []
    for step in range(1, 7):
        once = Line(tmp_path / str(step), steps=step)
        once.run()
        weights.append(once.module.weight.item())
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weights[-1]
    assert averaged.monitored[-1] == pytest.approx(expected) and plain.monitored[-1] == weights[-1]
    assert float((averaged.store.snapshot(6) / "w").read_text()) == averaged.monitored[-1]
    assert averaged.module.weight.item() == weights[-1]


def test_processes_with_different_states_do_not_train_together(tmp_path, monkeypatch):
    monkeypatch.setattr(Accelerator, "gather", lambda self, tensor: torch.cat([tensor, tensor + 2]))
    with pytest.raises(PaleoError, match=r"continue from different steps \(0, 2\): .* must lie on a disk that all"):
        Line(tmp_path / "line").run()
