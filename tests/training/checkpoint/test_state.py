"""The checkpoint store: what is saved, what is restored, and what a damaged disk costs."""

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
    trainable = Trainable(components=None, modules={"unet": module})
    optimiser = torch.optim.AdamW(list(trainable.parameters.values()), lr=0.1, fused=True)
    state = TrainingState(trainable, optimiser, EMA(trainable.parameters, 0.9), history=[*HISTORY])
    for _ in range(steps):
        _step(state, value)
    return state


def _step(state: TrainingState, value: float = 1.0) -> torch.Tensor:
    (state.trainable.modules["unet"](torch.full((1, 2, 4, 4), value)) ** 2).mean().backward()
    state.optimiser.step()
    state.optimiser.zero_grad()
    state.ema.update(3)
    weights = [*state.trainable.parameters.values(), *state.ema.values.values()]
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


def test_the_newest_are_kept_and_the_newest_is_resumed(store, logged):
    for step in (4, 6):
        store.save(step, _trained(step), keep=2)
    assert [state.step for state in store.states] == [6, 4]
    fresh = _trained(0)
    assert store.load(fresh, (), logged.append) == 6 and torch.equal(_step(fresh), _step(_trained(6)))
    store.save(8, _trained(8), keep=1)
    assert [state.step for state in store.states] == [8]


def test_an_empty_store_has_no_state(tmp_path, logged):
    store = CheckpointStore(tmp_path / "none", "none")
    assert (
        store.step is None
        and store.newest_intact_step(()) is None
        and store.load(_trained(0), (2,), logged.append) == 0
    )
    assert not logged


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def _halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("harm", [_flip, _halve, lambda path: path.write_bytes(b"")])
def test_the_state_before_a_damaged_one_is_resumed_and_takes_its_place(store, logged, harm):
    store.save(4, _trained(4), keep=2)
    harm(store.states[0].path)
    fresh = _trained(0)
    assert store.newest_intact_step(()) == store.load(fresh, (), logged.append) == 2 and torch.equal(
        _step(fresh), _step(_trained(2))
    )
    assert logged == [
        f"the state of step 4 in {store.folder} is not intact (its bytes are not what was saved); "
        "training continues from step 2"
    ]
    store.set_aside_after(2, logged.append)
    assert len(logged) == 1 and len(list(store.folder.glob("*state-*"))) == 1
    store.save(3, _trained(3), keep=2)
    assert [state.step for state in store.states] == [3, 2], "the damaged one must not crowd out an intact one"


def test_without_an_intact_state_training_starts_again(store, logged):
    store.save(4, _trained(4), keep=2)
    for saved in store.states:
        _halve(saved.path)
    fresh = _trained(0)
    assert store.load(fresh, (), logged.append) == 0 and store.newest_intact_step(()) is None
    assert logged[0].count("is not intact") == 2 and logged[0].endswith("; training starts again")
    assert torch.equal(_step(fresh), _step(_trained(0)))


def test_a_state_of_another_training_or_of_other_weights_is_not_resumed(store, logged):
    assert CheckpointStore(store.folder, "other").load(_trained(0), (), logged.append) == 0
    assert "(it belongs to another training)" in logged[0]
    other = _trained(0)
    other.trainable.modules["unet"].weight = nn.Parameter(torch.zeros(4, 2, 3, 3))
    assert store.load(other, (), logged.append) == 0 and "(it has other weights than are trained now)" in logged[1]


@pytest.mark.parametrize("harm", [lambda folder: (folder / "a").unlink(), lambda folder: _flip(folder / "a")])
def test_a_state_whose_snapshot_is_damaged_is_not_resumed(store, logged, harm):
    store.write_snapshot(3, lambda folder: (folder / "a").write_text("weights of step 3"))
    store.save(4, _trained(4), keep=2)
    assert store.load(_trained(0), (3, 9), logged.append) == 4
    harm(store.snapshot(3))
    assert store.load(_trained(0), (3, 9), logged.append) == 2
    assert "step 4" in logged[0] and "(its snapshot of step 3 is gone or not what was written)" in logged[0]


def test_an_intact_state_that_is_not_resumed_keeps_its_bytes(store, logged):
    path = store.states[0].path
    content = path.read_bytes()
    store.set_aside_after(0, logged.append)
    kept = path.with_name(f"old-{path.name}")
    assert store.states == [] and store.step is None and kept.read_bytes() == content
    assert logged == [f"{kept} is the state of step 2, set aside: nothing uses it until it has its name again"]
    store.save(1, _trained(1), keep=1)
    assert kept.exists() and store.step == 1
    kept.rename(path)
    assert store.load(_trained(0), (), logged.append) == 2


def test_one_training_at_a_time_and_a_crash_frees_it(tmp_path):
    store, other = CheckpointStore(tmp_path / "abc", "abc"), CheckpointStore(tmp_path / "abc", "abc")
    with store.lock():
        message = (
            rf"^this training is already running \(process {os.getpid()} on .+\) in .*abc; let it end, or stop it$"
        )
        with pytest.raises(InputError, match=message), other.lock():
            pass
        store.clear()
    child = os.fork()
    if not child:
        with other.lock():
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with store.lock():
        assert f"process {os.getpid()} on " in (store.folder / "running").read_text()


def test_a_process_that_waited_for_a_training_that_ended_does_not_start_it_again(tmp_path, monkeypatch):
    store, try_lock = CheckpointStore(tmp_path / "abc", "abc"), module._try_lock
    monkeypatch.setattr(module, "_try_lock", lambda stream: store.clear() or try_lock(stream))
    message = "this training has just ended in another process of .*abc; run it again"
    with pytest.raises(InputError, match=message), store.lock():
        pass


def test_the_other_processes_continue_when_the_folder_cannot_be_written(store, monkeypatch):
    """They have begun to gather their shards: the main process must gather each, or they wait for ever."""
    gathered = []
    monkeypatch.setattr(streaming, "full_tensor", lambda tensor: gathered.append(tensor) or tensor)
    (store.folder / ".state-000001").mkdir()  # which cannot be unlinked
    state = _trained(4)
    with pytest.raises(OSError, match="state-000001"):
        store.save(4, state, keep=1)
    assert len(gathered) == len(state.tensors()) and store.step == 2


def test_a_snapshot_is_complete_or_absent(store):
    def half(folder):
        (folder / "a").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_snapshot(1, half)
    assert not list(store.snapshots.iterdir()), "a partial snapshot must not fill the disk"
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
    assert [path.name for path in store.folder.iterdir()] == [store.states[0].path.name], "nothing partial is left"
    assert store.load(_trained(0), (), logged.append) == 2


def test_the_loss_scale_of_fp16_is_restored(store, logged):
    def scaled(scale: float) -> TrainingState:
        state = _trained(1)
        state.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=7)
        return state

    before, after = scaled(512.0), scaled(65536.0)
    before.scaler.scale(torch.ones(1))  # it makes its tensors when it is first used
    before.scaler._growth_tracker.fill_(3)
    store.save(5, before, keep=1)
    assert store.load(after, (), logged.append) == 5
    assert after.scaler.state_dict() == before.scaler.state_dict() and after.scaler.scale(torch.ones(1)) == 512


def test_a_training_started_without_fp16_continues_with_it(store, logged):
    after = _trained(0)
    after.scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    assert store.load(after, (), logged.append) == 2 and not logged
    assert after.scaler.scale(torch.ones(1)) == 512, "it finds its loss scale anew"


def test_an_optimiser_state_that_cannot_be_saved_is_an_error(store):
    state = _trained(1)
    state.optimiser.state[next(iter(state.trainable.parameters.values()))]["closure"] = (1, 2)
    with pytest.raises(TypeError, match=r"optimiser/unet.weight/closure is a tuple, which no state can hold"):
        store.save(3, state, keep=1)
    assert store.step == 2


def test_a_streamed_file_is_read_by_safetensors(tmp_path):
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
