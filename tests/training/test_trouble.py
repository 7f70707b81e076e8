"""What goes wrong in a training without a model, so that each of its steps costs nothing."""

import errno
import os
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from pipeline.core.errors import Interrupted, PaleoError
from pipeline.families.model_components import ModelComponents
from pipeline.methods.trainable import Trainable
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.loop import LoopSettings, TrainingJob, run
from pipeline.training.nan_guard import skipping
from tests.training.test_loop import Recorder


class Line:
    """y = w x, learnt from one slot for each of the four numbers of a step; no model, so a step costs nothing."""

    def __init__(self, folder: Path, xs=lambda step: (1.0, 2.0, 3.0, 4.0), **plan):
        self.module, self.saves = nn.Linear(1, 1, bias=False), CheckpointStore(folder, "x")
        nn.init.zeros_(self.module.weight)
        self.components = ModelComponents(
            "sd", folder, self.module, None, (), (), {}, torch.device("cpu"), torch.float32
        )
        self.xs, self.shown = xs, []
        settings = {"steps": 6, "batch_size": 4, "snapshots": (), "save_every_steps": 1, "max_gradient_norm": 1e9}
        self.plan = LoopSettings(**{**settings, "learning_rate": lambda step: 0.01, **plan})

    def run(self, recorder: Recorder | None = None) -> list[float]:
        job = TrainingJob(
            Trainable(self.components, {"unet": self.module}),
            self._loss,
            self._optimiser,
            self.plan,
            write_snapshot=lambda folder, step: (folder / "w").write_text(str(self.module.weight.item())),
            seen=lambda step: [f"{x}.png" for x in self.xs(step)],
            look=lambda step: self.shown.append(self.module.weight.item()),
        )
        return [row[0] for row in run(job, Accelerator(cpu=True), self.saves, (recorder or Recorder()).hooks).history]

    def _loss(self, parts, step, slots):
        x = torch.tensor([[self.xs(step)[slot]] for slot in slots])
        return ((self.module(x) - 2 * x) ** 2).mean()

    def _optimiser(self, trainable):
        return torch.optim.SGD(trainable.optimiser_groups(0.0), lr=0.01)


def _bad_at(step: int):
    return lambda now: (1.0, float("nan") if now == step else 2.0, 3.0, 4.0)


def test_the_one_picture_whose_loss_is_no_number_is_named_and_nothing_of_that_step_is_kept(tmp_path):
    line = Line(tmp_path / "line", xs=_bad_at(3))
    with pytest.raises(
        PaleoError,
        match="^the loss of step 4 is nan, because of nan.png; take it out of the pictures, "
        "or lower train.learning_rate; the state of step 3 is as it was$",
    ):
        line.run()
    assert line.saves.whole(()) == 3 and line.module.weight.isfinite(), "it ended before the weights were spoilt"


def test_a_gradient_that_is_no_number_ends_the_training_though_the_loss_is_one(tmp_path):
    line = Line(tmp_path / "line")
    line.module.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(PaleoError, match="^the gradient of step 1 is inf .it saw 1.0.png, .*; lower train.learning_"):
        line.run()
    assert line.saves.whole(()) is None and line.module.weight.item() == 0.0


def test_what_was_not_looked_at_is_not_written(tmp_path, monkeypatch):
    """On a GPU numbers are read late; here the weights are spoilt, though every number so far was finite."""
    line = Line(tmp_path / "line", rate=lambda step: float("inf") if step == 2 else 0.01, snapshots=(2, 3))
    with pytest.raises(PaleoError, match="step 3 made weights that are no finite numbers; lower train.learning_rate"):
        line.run()
    assert line.saves.whole((2,)) == 2 and not line.saves.snapshot(3).exists() and len(line.shown) == 2


def test_fp16_leaves_steps_out_until_it_has_a_scale_but_not_for_ever():
    scaler, bad = torch.amp.GradScaler("cpu"), float("inf")
    assert skipping([bad] * 9, scaler) and skipping([bad] * 39 + [1.0], scaler) and not skipping([bad] * 9, None)
    assert not skipping([1.0] + [bad] * 40, scaler)


def test_a_full_disk_is_told_and_the_training_goes_on(tmp_path, monkeypatch):
    line, recorder, replace = Line(tmp_path / "line"), Recorder(), os.replace

    def full(source, target):
        if any(f"state-00000{step}" in str(target) for step in (3, 4)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert len(line.run(recorder)) == 6 and line.saves.step == 5
    words = "could not be saved (No space left on device); that of step 2 is still there"
    assert recorder.said == [f"the state of step {step} {words}" for step in (3, 4)]
    line.saves.clear()
    with pytest.raises(Interrupted, match="interrupted at step 3 of 6; not saved; run again to continue"):
        Line(line.saves.folder).run(Recorder(stop_at=3))
    assert line.saves.whole(()) == 2


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
        "again: it goes on from step 2",
    ):
        line.run()


def test_snapshots_and_looks_show_the_average_and_the_learnt_weights_go_on(tmp_path):
    averaged, plain = Line(tmp_path / "a", ema_decay=0.5, snapshots=(2, 6)), Line(tmp_path / "b", snapshots=(2, 6))
    assert averaged.run() == plain.run(), "what is learnt is the same"
    expected, weights = 0.0, []
    for step in range(1, 7):
        once = Line(tmp_path / str(step), steps=step)
        once.run()
        weights.append(once.module.weight.item())
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weights[-1]
    assert averaged.shown[-1] == pytest.approx(expected) and plain.shown[-1] == weights[-1]
    assert float((averaged.saves.snapshot(6) / "w").read_text()) == averaged.shown[-1]
    assert averaged.module.weight.item() == weights[-1]


def test_processes_that_found_different_states_do_not_train_together(tmp_path, monkeypatch):
    monkeypatch.setattr(Accelerator, "gather", lambda self, tensor: torch.cat([tensor, tensor + 2]))
    with pytest.raises(PaleoError, match=r"go on from different steps \(0, 2\): .* must lie on a disk that all"):
        Line(tmp_path / "line").run()
