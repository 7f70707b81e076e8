"""The trajectory: the same however often it was interrupted, shared or saved."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from pipeline.core.errors import Interrupted, PaleoError, ParamsError
from pipeline.train import _training_run
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.data.batches import Bucket, Examples, SamplingSettings, batch_at
from pipeline.training.loop import Hooks, _Work, run, share
from pipeline.training.lr_schedules import learning_rate_at
from pipeline.training.task import TrainingRun, prepare
from tests.training import world


class Recorder:
    """Hooks that remember, and that say stop after a step."""

    def __init__(self, stop_at: int | None = None):
        self.reports, self.said, self.stop_at = [], [], stop_at
        ticks = itertools.count()
        self.hooks = Hooks(self.reports.append, self.said.append, self._stopping, lambda: float(next(ticks)))

    def _stopping(self) -> bool:
        return bool(self.reports) and self.reports[-1].step == self.stop_at


def _task_of(paths, **train) -> TrainingRun:
    return _training_run(world.change(paths, **train), paths)


def _run(task: TrainingRun, folder: Path, recorder: Recorder | None = None):
    """Train in `folder`; returns history and, by step, the bytes of the snapshots."""
    accelerator, saves = Accelerator(cpu=True), CheckpointStore(folder, "x")
    recorder = recorder or Recorder()
    progress = run(prepare(task, accelerator, folder.parent / "cache"), accelerator, saves, recorder.hooks)
    return progress.history, _files(saves.snapshots)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(params=["dreambooth", "lora"])
def task(request, project):
    return _task_of(project, method=request.param)


def test_interrupted_and_continued_is_bit_for_bit_the_same(task, tmp_path):
    straight = _run(task, tmp_path / "straight")
    for step in (1, 4):
        with pytest.raises(Interrupted, match=f"interrupted at step {step} of 6; saved; run again to continue"):
            _run(task, tmp_path / "broken", Recorder(stop_at=step))
    recorder = Recorder()
    assert _run(task, tmp_path / "broken", recorder) == straight
    assert recorder.said == ["continuing from step 4 of 6"]
    assert [report.step for report in recorder.reports] == [5, 6]


def test_snapshots_and_saves_leave_the_trajectory_alone(project, tmp_path):
    often = _run(_task_of(project, save_every_steps=1, snapshots=[1, 2, 3, 4, 5, 6]), tmp_path / "often")
    seldom = _run(_task_of(project, save_every_steps=100, snapshots=[6]), tmp_path / "seldom")
    assert often[0] == seldom[0]
    weights = "step-000006/unet/diffusion_pytorch_model.safetensors"
    assert often[1][weights][-10_000:] == seldom[1][weights][-10_000:]


def test_a_damaged_state_is_told_and_the_one_before_it_is_continued(project, tmp_path):
    task, broken = _task_of(project), CheckpointStore(tmp_path / "broken", "x")
    straight = _run(task, tmp_path / "straight")
    with pytest.raises(Interrupted):
        _run(task, broken.folder, Recorder(stop_at=4))
    for harmed, goes_on in ((1, "goes on from step 3"), (2, "starts again")):
        for state in broken.states[:harmed]:
            state.path.write_bytes(b"nonsense")
        recorder = Recorder(stop_at=4)
        with pytest.raises(Interrupted):
            _run(task, broken.folder, recorder)
        assert recorder.said[0].endswith(f"is not whole (its bytes are not what was saved); training {goes_on}")
        assert len(recorder.reports) == (1 if harmed == 1 else 4) and [one.step for one in broken.states] == [4, 3]
    assert _run(task, broken.folder) == straight


def test_a_batch_in_parts_gives_the_same_losses(project, tmp_path, monkeypatch):
    task = _task_of(project, method="lora")
    whole, _ = _run(task, tmp_path / "whole")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    parts, _ = _run(task, tmp_path / "parts")
    torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), atol=1e-5, rtol=1e-4)


def test_sdxl_learns_too(project, sdxl_base, tmp_path):
    from dataclasses import replace

    for method in ("lora", "dreambooth"):
        task = replace(_task_of(project, method=method, steps=2, snapshots=[2]), family="sdxl", base=sdxl_base)
        history, files = _run(task, tmp_path / method)
        assert len(history) == 2 and files


def test_it_learns(project, tmp_path):
    task = _task_of(project, steps=40, snapshots=[40], caption_dropout=0.0, learning_rate=3e-3, save_every_steps=100)
    history, _ = _run(task, tmp_path / "long")
    losses = [row[0] for row in history]
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_every_step_is_reported_with_its_speed(project, tmp_path):
    recorder = Recorder()
    history, _ = _run(_task_of(project), tmp_path / "told", recorder)
    assert [[r.loss, r.learning_rate, r.gradient_norm] for r in recorder.reports] == history
    assert {(report.seconds, report.images_per_second) for report in recorder.reports} == {(1.0, 4.0)}


def test_a_loss_that_is_no_number_ends_the_training(project, tmp_path):
    with pytest.raises(
        PaleoError, match=r"loss of step \d is (nan|inf) \(it saw .*train/0.*png.*\); lower train.learning_"
    ):
        _run(_task_of(project, learning_rate=1e30, warmup_steps=0), tmp_path / "nan")


def test_a_side_that_the_autoencoder_cannot_divide_is_refused(project, tmp_path):
    with pytest.raises(ParamsError, match="resolution_px is 17, but this base needs a multiple of 2; take 16 or 18"):
        _run(_task_of(project, resolution_px=17), tmp_path / "odd")


def test_the_rate_rises_and_stays(project):
    train = world.change(project, learning_rate=0.1, warmup_steps=4).train
    assert [learning_rate_at(train, step) for step in (0, 1, 3, 4, 99)] == pytest.approx([0.025, 0.05, 0.1, 0.1, 0.1])
    assert learning_rate_at(world.change(project, warmup_steps=0).train, 0) == pytest.approx(0.1)


def test_processes_ask_each_other_at_every_slow_step_and_seldom_at_quick_ones():
    """As on two GPUs, which read their numbers seldom; the other process has slow steps where `others` says so."""
    asked = []

    def ask(untold: list, seconds: float, others=(0.0, 0.0)) -> bool:
        def reduce(mine, how):
            asked.append(mine.tolist())
            return mine + torch.tensor(others)

        work.accelerator = SimpleNamespace(num_processes=2, device=torch.device("cpu"), reduce=reduce)
        work.untold, work.seconds = untold, seconds
        return _Work.told_to_stop(work)

    work = SimpleNamespace(hooks=SimpleNamespace(stopping=lambda: False), slow=True)
    assert not ask(["unread"], math.inf) and ask(["unread"], math.inf, others=(1.0, 1.0)), "unknown: asked"
    assert not ask([], 0.2, others=(0.0, 1.0)) and ask(["unread"], 0.2, others=(1.0, 1.0)), "the other one is slow"
    assert not ask([], 0.2) and not work.slow and len(asked) == 5
    assert not ask(["unread"], 5.0, others=(1.0, 1.0)) and len(asked) == 5, "nobody asks before all know to answer"
    assert not ask([], 5.0) and work.slow and ask(["unread"], 5.0, others=(1.0, 0.0))
    assert asked[-1] == [0.0, 1.0]


def test_slots_are_shared_without_gap_or_overlap():
    taken = [list(part) for process in range(2) for part in share(8, 2, 2, process)]
    assert taken == [[0, 1], [2, 3], [4, 5], [6, 7]]
    examples = Examples((Bucket(torch.zeros(2, 2, 4, 8, 8), ((1,), (1,)), n_pictures=2),), ("", "a"))
    draw = SamplingSettings(seed=0, batch_size=8, horizontal_flip=False, caption_dropout=0.0, prior_weight=0.0)
    batches = [batch_at(step, part, examples, draw, 1000) for step in range(2) for part in taken]
    assert len(torch.cat([batch.noise for batch in batches]).unique(dim=0)) == 16, "no noise is ever repeated"
    assert len({*torch.cat([batch.timesteps for batch in batches[:4]]).tolist()}) == 8
    with pytest.raises(ParamsError, match="batch_size is 8, which 3 processes with 1 accumulation steps cannot share"):
        share(8, 3, 1, 0)
