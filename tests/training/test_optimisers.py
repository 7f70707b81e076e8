"""Every optimiser: its rates, its decay, and a state that comes back bit for bit."""

import importlib.util

import pytest
import torch
from torch import nn

from pipeline.core.errors import InputError, ParamsError
from pipeline.methods import method
from pipeline.methods.trainable import Group, Trainable
from pipeline.training.checkpoint.state import CheckpointStore, TrainingState
from pipeline.training.lr_schedules import LR_SCHEDULES, learning_rate_at, lr_schedule
from pipeline.training.optimisers import OPTIMISERS, check_optimiser, optimiser
from tests.training.world import train_params

INSTALLED = [name for name in OPTIMISERS if name != "adamw8bit" or importlib.util.find_spec("bitsandbytes")]
RATES = {"prodigy": 1.0, "adafactor": 1e-2}


class Net(nn.Module):
    """A conv, a matrix large enough for eight bits, one that starts at zero (as LoRA's do), one without gradient."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.wide, self.zero, self.idle = nn.Linear(512, 64), nn.Linear(64, 4, bias=False), nn.Linear(2, 2)
        nn.init.zeros_(self.zero.weight)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.zero(torch.tanh(self.wide(self.conv(pictures).flatten(1)))) + self.wide.bias.sum()


def _progress(name: str, groups: tuple[Group, ...] = ()) -> TrainingState:
    torch.manual_seed(0)
    trainable = Trainable(None, {"unet": Net()}, groups)
    return TrainingState(
        trainable, optimiser(name).make(trainable.optimiser_groups(weight_decay=0.1), RATES.get(name, 1e-2))
    )


def _steps(progress: TrainingState, first: int, last: int, rate: float) -> list[torch.Tensor]:
    for step in range(first, last):
        for group in progress.optimiser.param_groups:
            group["lr"] = rate * group["lr_factor"]
        pictures = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(step))
        ((progress.trainable.modules["unet"](pictures) - 1) ** 2).mean().backward()
        progress.optimiser.step()
        progress.optimiser.zero_grad()
    return [weight.detach().clone() for weight in progress.trainable.parameters.values()]


GROUPS = (
    Group(("unet.conv.weight", "unet.conv.bias", "unet.wide.weight", "unet.idle.weight", "unet.idle.bias")),
    Group(("unet.wide.bias", "unet.zero.weight"), lr_factor=0.5, weight_decay=False),
)


@pytest.mark.parametrize("groups", [(), GROUPS], ids=["one group", "two groups"])
@pytest.mark.parametrize("name", INSTALLED)
def test_a_training_that_is_resumed_often_is_bit_for_bit_the_same(name, groups, tmp_path):
    rate = RATES.get(name, 1e-2)
    straight = _steps(_progress(name, groups), 0, 9, rate)
    store, step = CheckpointStore(tmp_path / "x", "x"), 0
    for stop in (1, 2, 6, 9):
        progress = _progress(name, groups)
        assert store.load(progress, (), pytest.fail) == step
        weights = _steps(progress, step, stop, rate)
        store.save(stop, progress, keep=2)
        step = stop
    assert all(map(torch.equal, weights, straight))


@pytest.mark.parametrize("name", INSTALLED)
def test_the_loss_falls(name):
    def loss(progress: TrainingState) -> float:
        pictures = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(99))
        return ((progress.trainable.modules["unet"](pictures) - 1) ** 2).mean().item()

    progress = _progress(name)
    before = loss(progress)
    _steps(progress, 0, 300 if name in ("prodigy", "adafactor") else 60, RATES.get(name, 1e-2))
    assert loss(progress) < 0.5 * before


@pytest.mark.parametrize("name", INSTALLED)
def test_a_group_has_its_own_learning_rate_and_weight_decay(name):
    """A weight whose gradient is the same at each step, in two groups, of which one is ten times as slow."""
    exact = torch.float32 if name == "adamw8bit" else torch.float64  # Prodigy's first steps are a millionth
    fast, slow, still = (nn.Parameter(torch.full((2, 2), 4.0, dtype=exact)) for _ in range(3))
    module = nn.ParameterDict({"fast": fast, "slow": slow, "still": still})
    groups = (
        Group(("unet.fast",), weight_decay=False),
        Group(("unet.slow",), lr_factor=0.1, weight_decay=False),
        Group(("unet.still",)),
    )
    trainable = Trainable(None, {"unet": module}, groups)
    made = optimiser(name).make(trainable.optimiser_groups(weight_decay=0.5), 1.0)
    for _ in range(3):
        for group in made.param_groups:
            group["lr"] = 1e-3 * group["lr_factor"] if name != "prodigy" else group["lr_factor"]
        fast.grad, slow.grad, still.grad = torch.ones_like(fast), torch.ones_like(slow), torch.zeros_like(still)
        made.step()
    ratio = (4.0 - fast.detach()) / (4.0 - slow.detach())
    assert ratio.mean().item() == pytest.approx(10, rel=0.02) and (4.0 - fast.detach()).min() > 0
    assert (still.detach() < 4.0).all(), "it has no gradient, so only decay moves it"


def test_prodigy_with_equal_rates_is_prodigy():
    from prodigyopt import Prodigy

    def weights(make) -> list[torch.Tensor]:
        torch.manual_seed(0)
        trainable = Trainable(None, {"unet": Net()})
        return _steps(TrainingState(trainable, make(trainable.optimiser_groups(0.1), 1.0)), 0, 20, 1.0)

    ours = weights(OPTIMISERS["prodigy"].make)
    theirs = weights(lambda groups, rate: Prodigy(groups, lr=rate, use_bias_correction=True, safeguard_warmup=True))
    assert all(map(torch.equal, ours, theirs))


def test_an_optimiser_that_cannot_work_is_refused(monkeypatch):
    def check(**changes):
        train = train_params(**{"learning_rate": 1e-3, **changes})
        check_optimiser(train, method(train.method))

    with pytest.raises(ParamsError, match="optimiser is 'adamm', which is not known; did you mean 'adamw'"):
        check(optimiser="adamm")
    with pytest.raises(ParamsError, match="known are adamw, adamw8bit, adafactor, prodigy"):
        check(optimiser="sgd")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="'adamw8bit' needs bitsandbytes, which is not installed; run `pip install"):
        check(optimiser="adamw8bit")
    check(optimiser="prodigy", learning_rate=1.0)
    with pytest.raises(ParamsError, match="train.learning_rate is 0.001, but prodigy finds the rate itself .* to 1.0"):
        check(optimiser="prodigy", learning_rate=1e-3)
    with pytest.raises(ParamsError, match="train.pivotal.learning_rate is 0.002, but prodigy"):
        check(optimiser="prodigy", method="pivotal", learning_rate=1.0)


def test_an_unknown_schedule_is_refused_with_the_nearest_name():
    with pytest.raises(ParamsError, match="train.lr_schedule is 'cosin', which is not known; did you mean 'cosine'"):
        lr_schedule("cosin")
    with pytest.raises(ParamsError, match="known are constant, linear, cosine"):
        lr_schedule("x")


def test_a_schedule_is_one_row(monkeypatch):
    monkeypatch.setitem(LR_SCHEDULES, "quadratic", lambda progress: (1 - progress) ** 2)
    train = train_params(lr_schedule="quadratic", learning_rate=1.0, warmup_steps=0, steps=4, snapshots=[4])
    assert [learning_rate_at(train, step) for step in range(4)] == [1.0, 0.5625, 0.25, 0.0625]
