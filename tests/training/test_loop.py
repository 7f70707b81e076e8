"""The training loop: the same trajectory however often it was interrupted, split or saved."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from pipeline.core.errors import Interrupted, PaleoError, ParamsError
from pipeline.families import family
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.data.batches import Bucket, EncodedDataset, SamplingSettings, batch_at
from pipeline.training.loop import Hooks, _Loop, split_batch, train_to_end
from pipeline.training.lr_schedules import learning_rate_at
from pipeline.training.task import prepare
from pipeline.training.training_run import TrainingRun
from tests.training import world


class Recorder:
    """Hooks that record, and that request a stop after a step."""

    def __init__(self, stop_at: int | None = None):
        self.reports, self.logged, self.stop_at = [], [], stop_at
        ticks = itertools.count()
        self.hooks = Hooks(self.reports.append, self.logged.append, self._should_stop, lambda: float(next(ticks)))

    def _should_stop(self) -> bool:
        return bool(self.reports) and self.reports[-1].step == self.stop_at


def trained(run: TrainingRun, folder: Path, recorder: Recorder | None = None):
    """Train in `folder`; returns history and, by step, the bytes of the snapshots."""
    accelerator, store = Accelerator(cpu=True), CheckpointStore(folder, "x")
    recorder = recorder or Recorder()
    job = prepare(run, accelerator, folder.parent / "cache")
    return train_to_end(job, accelerator, store, recorder.hooks).history, _files(store.snapshots)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(params=["dreambooth", "lora"])
def run(request, project):
    return world.training_run(project, method=request.param)


def test_an_interrupted_and_resumed_training_is_bit_for_bit_the_same(run, tmp_path):
    straight = trained(run, tmp_path / "straight")
    for step in (1, 4):
        with pytest.raises(Interrupted, match=f"interrupted at step {step} of 6; saved; run again to continue"):
            trained(run, tmp_path / "broken", Recorder(stop_at=step))
    recorder = Recorder()
    assert trained(run, tmp_path / "broken", recorder) == straight
    assert recorder.logged == ["continuing from step 4 of 6"]
    assert [report.step for report in recorder.reports] == [5, 6]


def test_snapshots_and_saved_states_do_not_change_the_trajectory(project, tmp_path):
    often = trained(world.training_run(project, save_every_steps=1, snapshots=[1, 2, 3, 4, 5, 6]), tmp_path / "often")
    seldom = trained(world.training_run(project, save_every_steps=100, snapshots=[6]), tmp_path / "seldom")
    assert often[0] == seldom[0]
    weights = "step-000006/unet/diffusion_pytorch_model.safetensors"
    assert often[1][weights][-10_000:] == seldom[1][weights][-10_000:]


def test_a_damaged_state_is_logged_and_the_one_before_it_is_resumed(project, tmp_path):
    run, broken = world.training_run(project), CheckpointStore(tmp_path / "broken", "x")
    straight = trained(run, tmp_path / "straight")
    with pytest.raises(Interrupted):
        trained(run, broken.folder, Recorder(stop_at=4))
    for n_damaged, continues in ((1, "continues from step 3"), (2, "starts again")):
        for state in broken.states[:n_damaged]:
            state.path.write_bytes(b"nonsense")
        recorder = Recorder(stop_at=4)
        with pytest.raises(Interrupted):
            trained(run, broken.folder, recorder)
        assert recorder.logged[0].endswith(f"is not intact (its bytes are not what was saved); training {continues}")
        assert len(recorder.reports) == (1 if n_damaged == 1 else 4) and [state.step for state in broken.states] == [
            4,
            3,
        ]
    assert trained(run, broken.folder) == straight


def test_a_batch_in_parts_gives_the_same_losses(project, tmp_path, monkeypatch):
    run = world.training_run(project, method="lora")
    whole, _ = trained(run, tmp_path / "whole")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    parts, _ = trained(run, tmp_path / "parts")
    torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), atol=1e-5, rtol=1e-4)


def test_sdxl_is_trained_too(project, sdxl_base, tmp_path):
    from dataclasses import replace

    for method in ("lora", "dreambooth"):
        run = replace(
            world.training_run(project, method=method, steps=2, snapshots=[2]), family=family("sdxl"), base=sdxl_base
        )
        history, files = trained(run, tmp_path / method)
        assert len(history) == 2 and files


def test_the_loss_falls(project, tmp_path):
    run = world.training_run(
        project, steps=40, snapshots=[40], caption_dropout=0.0, learning_rate=3e-3, save_every_steps=100
    )
    history, _ = trained(run, tmp_path / "long")
    losses = [row[0] for row in history]
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_every_step_is_reported_with_its_speed(project, tmp_path):
    recorder = Recorder()
    history, _ = trained(world.training_run(project), tmp_path / "reported", recorder)
    assert [[r.loss, r.learning_rate, r.gradient_norm] for r in recorder.reports] == history
    assert {(report.seconds, report.images_per_second) for report in recorder.reports} == {(1.0, 4.0)}


def test_a_non_finite_loss_ends_the_training(project, tmp_path):
    with pytest.raises(
        PaleoError, match=r"loss of step \d is (nan|inf) \(its examples: .*train/0.*png.*\); lower train.learning_"
    ):
        trained(world.training_run(project, learning_rate=1e30, warmup_steps=0), tmp_path / "nan")


def test_a_side_that_the_autoencoder_cannot_divide_is_refused(project, tmp_path):
    with pytest.raises(ParamsError, match="resolution_px is 17, but this base needs a multiple of 2; take 16 or 18"):
        trained(world.training_run(project, resolution_px=17), tmp_path / "odd")


def test_the_learning_rate_is_warmed_up_and_stays(project):
    train = world.change(project, learning_rate=0.1, warmup_steps=4).train
    assert [learning_rate_at(train, step) for step in (0, 1, 3, 4, 99)] == pytest.approx([0.025, 0.05, 0.1, 0.1, 0.1])
    assert learning_rate_at(world.change(project, warmup_steps=0).train, 0) == pytest.approx(0.1)


def test_processes_exchange_stop_requests_at_every_slow_step_and_seldom_at_quick_ones():
    """As on two GPUs, which read their numbers seldom; the other process has slow steps where `others` says so."""
    exchanged = []

    def stop(unreported: list, step_s: float, others=(0.0, 0.0)) -> bool:
        def reduce(own, how):
            exchanged.append(own.tolist())
            return own + torch.tensor(others)

        loop.accelerator = SimpleNamespace(num_processes=2, device=torch.device("cpu"), reduce=reduce)
        loop.unreported, loop.step_s = unreported, step_s
        return _Loop.stop_requested(loop)

    loop = SimpleNamespace(hooks=SimpleNamespace(should_stop=lambda: False), slow=True)
    assert not stop(["unread"], math.inf) and stop(["unread"], math.inf, others=(1.0, 1.0)), "unknown: exchanged"
    assert not stop([], 0.2, others=(0.0, 1.0)) and stop(["unread"], 0.2, others=(1.0, 1.0)), "the other one is slow"
    assert not stop([], 0.2) and not loop.slow and len(exchanged) == 5
    assert not stop(["unread"], 5.0, others=(1.0, 1.0)) and len(exchanged) == 5, "no exchange that others do not expect"
    assert not stop([], 5.0) and loop.slow and stop(["unread"], 5.0, others=(1.0, 0.0))
    assert exchanged[-1] == [0.0, 1.0]


def test_slots_are_split_without_gap_or_overlap():
    taken = [list(part) for process in range(2) for part in split_batch(8, 2, 2, process)]
    assert taken == [[0, 1], [2, 3], [4, 5], [6, 7]]
    dataset = EncodedDataset((Bucket(torch.zeros(2, 2, 4, 8, 8), ((1,), (1,)), n_pictures=2),), ("", "a"))
    sampling = SamplingSettings(seed=0, batch_size=8, horizontal_flip=False, caption_dropout=0.0, prior_weight=0.0)
    batches = [batch_at(step, part, dataset, sampling, 1000) for step in range(2) for part in taken]
    assert len(torch.cat([batch.noise for batch in batches]).unique(dim=0)) == 16, "no noise is ever repeated"
    assert len({*torch.cat([batch.timesteps for batch in batches[:4]]).tolist()}) == 8
    with pytest.raises(ParamsError, match="batch_size is 8, which 3 processes with 1 accumulation steps cannot share"):
        split_batch(8, 3, 1, 0)
