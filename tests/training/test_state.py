import json

import pytest
import torch
from torch import nn

from pipeline.training.state import Damaged, Progress, Saves
from pipeline.training.trainable import Trainable

HISTORY = [[0.5, 1e-4, 1.0], [0.4, 1e-4, 0.9]]


def _trained(steps: int, value: float = 1.0) -> Progress:
    """A conv (channels last, as in training) after some steps of AdamW."""
    torch.manual_seed(0)
    module = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    trainable = Trainable(parts=None, modules={"unet": module})
    optimiser = torch.optim.AdamW(list(trainable.parameters.values()), lr=0.1, fused=True)
    for _ in range(steps):
        (module(torch.full((1, 2, 4, 4), value)) ** 2).mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    return Progress(trainable, optimiser, history=[*HISTORY])


def _step(progress: Progress) -> torch.Tensor:
    (progress.trainable.modules["unet"](torch.ones(1, 2, 4, 4)) ** 2).mean().backward()
    progress.optimiser.step()
    return torch.cat([weight.detach().flatten() for weight in progress.trainable.parameters.values()])


@pytest.fixture
def saves(tmp_path):
    saves = Saves(tmp_path / "abc", "abc")
    saves.save(2, _trained(2), keep=1)
    return saves


def test_a_restored_training_takes_the_same_next_step(saves):
    fresh = _trained(0)
    assert saves.load(fresh, ()) == saves.step == 2 and fresh.history == HISTORY
    assert torch.equal(_step(fresh), _step(_trained(2)))


def test_a_newer_state_takes_the_place_of_the_older(saves):
    saves.save(4, _trained(4), keep=1)
    assert [path.name for path in saves.folder.glob("state-*")] == ["state-000004.safetensors"]
    assert saves.load(_trained(0), ()) == 4


def test_no_state_is_no_state(tmp_path):
    saves = Saves(tmp_path / "none", "none")
    assert saves.step is None and saves.load(_trained(0), (2,)) == 0


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda f: _flip(f / "state-000002.safetensors"), "not what was saved"),
        (lambda f: (f / "state-000002.safetensors").unlink(), "missing"),
        (lambda f: (f / "state.json").write_text("{"), "state.json cannot be read"),
        (lambda f: (f / "state.json").write_text(json.dumps({"step": 2})), "state.json cannot be read"),
    ],
)
def test_a_damaged_state_is_not_continued(saves, harm, why):
    harm(saves.folder)
    with pytest.raises(Damaged, match=why):
        saves.load(_trained(0), ())


def test_a_state_of_another_training_or_without_its_snapshots_is_not_continued(saves):
    with pytest.raises(Damaged, match="snapshot of step 1 is gone"):
        saves.load(_trained(0), (1, 5))
    with pytest.raises(Damaged, match="another training"):
        Saves(saves.folder, "other").load(_trained(0), ())


def test_a_snapshot_is_whole_or_absent(saves):
    def half(folder):
        (folder / "a").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        saves.write_snapshot(1, half)
    assert not saves.snapshot(1).exists()
    for text in ("first", "second"):
        saves.write_snapshot(1, lambda folder, text=text: (folder / "a").write_text(text))
    assert (saves.snapshot(1) / "a").read_text() == "second"
    saves.clear()
    assert not saves.folder.exists()
