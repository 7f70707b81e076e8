import pytest
import torch
from torch import nn

from pipeline.training.ema import EMA


def _learner() -> tuple[nn.Linear, EMA]:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 0.0)
    return layer, EMA(dict(layer.named_parameters()), decay=0.5)


def test_the_average_follows_the_weights_and_early_steps_count_less_long():
    layer, average = _learner()
    expected = 0.0
    for step in range(1, 30):
        nn.init.constant_(layer.weight, float(step))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert average.values["weight"].item() == pytest.approx(expected)
    assert layer.weight.item() == 29.0


def test_it_is_shown_and_the_learnt_weights_come_back_whatever_happens():
    layer, average = _learner()
    average.values["weight"].fill_(7.0)
    nn.init.constant_(layer.weight, 1 / 3)
    learnt = layer.weight.detach().clone()
    with pytest.raises(KeyboardInterrupt), average.shown():
        assert layer.weight.item() == 7.0
        raise KeyboardInterrupt
    assert torch.equal(layer.weight.detach(), learnt) and average.values["weight"].item() == 7.0
