"""What is saved, what is put back, and what a damaged disk may cost."""

import os
import resource
import signal

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from pipeline.core.errors import InputError
from pipeline.methods.trainable import Trainable
from pipeline.training.checkpoint import state as module
from pipeline.training.checkpoint import streaming
from pipeline.training.checkpoint.state import CheckpointStore, TrainingState
from pipeline.training.ema import EMA

HISTORY = [[0.5, 1e-4, 1.0], [0.4, 1e-4, float("inf")]]


def _trained(steps: int, value: float = 1.0) -> TrainingState:
    """A conv (channels last, as in training) after some steps of AdamW."""
    torch.manual_seed(0)
    module = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    trainable = Trainable(parts=None, modules={"unet": module})
    optimiser = torch.optim.AdamW(list(trainable.parameters.values()), lr=0.1, fused=True)
    progress = TrainingState(trainable, optimiser, EMA(trainable.parameters, 0.9), history=[*HISTORY])
    for _ in range(steps):
        _step(progress, value)
    return progress


def _step(progress: TrainingState, value: float = 1.0) -> torch.Tensor:
    (progress.trainable.modules["unet"](torch.full((1, 2, 4, 4), value)) ** 2).mean().backward()
    progress.optimiser.step()
    progress.optimiser.zero_grad()
    state.ema.update(3)
    weights = [*progress.trainable.parameters.values(), *state.ema.values.values()]
    return torch.cat([weight.detach().flatten() for weight in weights])


@pytest.fixture
def store(tmp_path):
    store = CheckpointStore(tmp_path / "abc", "abc")
    store.save(2, _trained(2), keep=2)
    return store


@pytest.fixture
def logged():
    return []


def test_a_restored_training_takes_the_same_next_step(store, logged):
    fresh = _trained(0)
    assert store.load(fresh, (), logged.append) == store.step == 2 and fresh.history == HISTORY
    assert torch.equal(_step(fresh), _step(_trained(2))) and not logged


def test_the_newest_are_kept_and_the_newest_is_continued(store, logged):
    for step in (4, 6):
        store.save(step, _trained(step), keep=2)
    assert [state.step for state in store.states] == [6, 4]
    fresh = _trained(0)
    assert store.load(fresh, (), logged.append) == 6 and torch.equal(_step(fresh), _step(_trained(6)))
    store.save(8, _trained(8), keep=1)
    assert [state.step for state in store.states] == [8]


def test_no_state_is_no_state(tmp_path, logged):
    store = CheckpointStore(tmp_path / "none", "none")
    assert store.step is None and store.whole(()) is None and store.load(_trained(0), (2,), logged.append) == 0
    assert not logged


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def _halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("harm", [_flip, _halve, lambda path: path.write_bytes(b"")])
def test_the_state_before_a_damaged_one_is_continued_and_takes_its_place(store, logged, harm):
    store.save(4, _trained(4), keep=2)
    harm(store.states[0].path)
    fresh = _trained(0)
    assert store.whole(()) == store.load(fresh, (), logged.append) == 2 and torch.equal(
        _step(fresh), _step(_trained(2))
    )
    assert logged == [
        f"the state of step 4 in {store.folder} is not whole (its bytes are not what was saved); "
        "training goes on from step 2"
    ]
    store.drop_beyond(2, logged.append)
    assert len(logged) == 1 and len(list(store.folder.glob("*state-*"))) == 1
    store.save(3, _trained(3), keep=2)
    assert [state.step for state in store.states] == [3, 2], "the damaged one must not crowd out a whole one"


def test_when_none_is_whole_training_starts_again_with_nothing_touched(store, logged):
    store.save(4, _trained(4), keep=2)
    for state in store.states:
        _halve(state.path)
    fresh = _trained(0)
    assert store.load(fresh, (), logged.append) == 0 and store.whole(()) is None
    assert logged[0].count("is not whole") == 2 and logged[0].endswith("; training starts again")
    assert torch.equal(_step(fresh), _step(_trained(0)))


def test_a_state_of_another_training_or_of_other_weights_is_not_continued(store, logged):
    assert CheckpointStore(store.folder, "other").load(_trained(0), (), logged.append) == 0
    assert "(it belongs to another training)" in logged[0]
    other = _trained(0)
    other.trainable.modules["unet"].weight = nn.Parameter(torch.zeros(4, 2, 3, 3))
    assert store.load(other, (), logged.append) == 0 and "(other weights are in it than learn now)" in logged[1]


@pytest.mark.parametrize("harm", [lambda folder: (folder / "a").unlink(), lambda folder: _flip(folder / "a")])
def test_a_state_whose_snapshot_is_harmed_is_not_continued(store, logged, harm):
    store.write_snapshot(3, lambda folder: (folder / "a").write_text("weights of step 3"))
    store.save(4, _trained(4), keep=2)
    assert store.load(_trained(0), (3, 9), logged.append) == 4
    harm(store.snapshot(3))
    assert store.load(_trained(0), (3, 9), logged.append) == 2
    assert "step 4" in logged[0] and "(its snapshot of step 3 is gone or not what was written)" in logged[0]


def test_a_whole_state_that_is_not_continued_keeps_its_bytes(store, logged):
    path = store.states[0].path
    content = path.read_bytes()
    store.drop_beyond(0, logged.append)
    kept = path.with_name(f"old-{path.name}")
    assert store.states == [] and store.step is None and kept.read_bytes() == content
    assert logged == [f"{kept} is the state of step 2, set aside: nothing uses it until it has its name again"]
    store.save(1, _trained(1), keep=1)
    assert kept.exists() and store.step == 1
    kept.rename(path)
    assert store.load(_trained(0), (), logged.append) == 2


def test_one_training_at_a_time_and_a_crash_frees_it(tmp_path):
    store, other = CheckpointStore(tmp_path / "abc", "abc"), CheckpointStore(tmp_path / "abc", "abc")
    with store.alone():
        words = rf"^this training is already running \(process {os.getpid()} on .+\) in .*abc; let it end, or stop it$"
        with pytest.raises(InputError, match=words), other.alone():
            pass
        store.clear()
    child = os.fork()
    if not child:
        with other.alone():
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with store.alone():
        assert f"process {os.getpid()} on " in (store.folder / "running").read_text()


def test_who_waited_at_the_door_of_a_training_that_ended_begins_no_other_one(tmp_path, monkeypatch):
    store, lock = CheckpointStore(tmp_path / "abc", "abc"), module._locks
    monkeypatch.setattr(module, "_locks", lambda stream: store.clear() or lock(stream))
    words = "this training has just ended in another process of .*abc; run it again"
    with pytest.raises(InputError, match=words), store.alone():
        pass


def test_a_folder_that_cannot_be_written_lets_the_other_processes_go_on(store, monkeypatch):
    """They have begun to give their pieces: the main process must take each, or they wait for ever."""
    taken = []
    monkeypatch.setattr(streaming, "whole", lambda tensor: taken.append(tensor) or tensor)
    (store.folder / ".state-000001").mkdir()  # which nobody can unlink
    progress = _trained(4)
    with pytest.raises(OSError, match="state-000001"):
        store.save(4, progress, keep=1)
    assert len(taken) == len(progress.tensors()) and store.step == 2


def test_a_snapshot_is_whole_or_absent(store):
    def half(folder):
        (folder / "a").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_snapshot(1, half)
    assert not list(store.snapshots.iterdir()), "half a snapshot must not keep the disk full"
    for text in ("first", "second"):
        store.write_snapshot(1, lambda folder, text=text: (folder / "a").write_text(text))
    assert (store.snapshot(1) / "a").read_text() == "second"
    store.clear()
    assert not store.folder.exists()


def test_a_full_disk_leaves_the_earlier_state_as_it_was(store, logged):
    (store.folder / ".state-000003").write_text("left by a process that was killed")
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # bytes of any file
        with pytest.raises(OSError, match="too large"):
            store.save(4, _trained(4), keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in store.folder.iterdir()] == [store.states[0].path.name], "nothing half is left"
    assert store.load(_trained(0), (), logged.append) == 2


def test_the_scale_of_fp16_is_put_back(store, logged):
    def scaled(scale: float) -> TrainingState:
        progress = _trained(1)
        progress.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=7)
        return progress

    before, after = scaled(512.0), scaled(65536.0)
    before.scaler.scale(torch.ones(1))  # it makes its tensors when it is first used
    before.scaler._growth_tracker.fill_(3)
    store.save(5, before, keep=1)
    assert store.load(after, (), logged.append) == 5
    assert after.scaler.state_dict() == before.scaler.state_dict() and after.scaler.scale(torch.ones(1)) == 512


def test_a_training_begun_without_fp16_goes_on_with_it(store, logged):
    after = _trained(0)
    after.scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    assert store.load(after, (), logged.append) == 2 and not logged
    assert after.scaler.scale(torch.ones(1)) == 512, "it looks for its scale anew"


def test_what_cannot_be_kept_is_no_state_at_all(store):
    progress = _trained(1)
    progress.optimiser.state[next(iter(progress.trainable.parameters.values()))]["closure"] = (1, 2)
    with pytest.raises(TypeError, match=r"optimiser/unet.weight/closure is a tuple, which no state can keep"):
        store.save(3, progress, keep=1)
    assert store.step == 2


def test_a_streamed_file_is_what_safetensors_reads(tmp_path):
    strided = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    tensors = {
        "a": strided,
        "b": strided,
        "empty": torch.zeros(0, 3),
        "number": torch.tensor(7),
        "flag": torch.tensor(True),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "byte": torch.arange(5, dtype=torch.uint8),
    }
    streaming.write(tmp_path / "x.safetensors", tensors, {"é": "ü"})
    read = load_file(tmp_path / "x.safetensors")
    assert list(read) and all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    assert all(read[name].dtype == tensor.dtype for name, tensor in tensors.items())
