import pytest
import torch
from torch import nn

from pipeline.training.ema import EMA


def _layer_with_ema() -> tuple[nn.Linear, EMA]:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 0.0)
    return layer, EMA(dict(layer.named_parameters()), decay=0.5)


def test_the_average_follows_the_weights_with_a_smaller_decay_at_early_steps():
    layer, ema = _layer_with_ema()
    expected = 0.0
    for step in range(1, 30):
        nn.init.constant_(layer.weight, float(step))
        ema.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert ema.values["weight"].item() == pytest.approx(expected)
    assert layer.weight.item() == 29.0


def test_it_is_applied_and_the_trained_weights_are_restored_whatever_happens():
    layer, ema = _layer_with_ema()
    ema.values["weight"].fill_(7.0)
    nn.init.constant_(layer.weight, 1 / 3)
    trained = layer.weight.detach().clone()
    with pytest.raises(KeyboardInterrupt), ema.applied():
        assert layer.weight.item() == 7.0
        raise KeyboardInterrupt
    assert torch.equal(layer.weight.detach(), trained) and ema.values["weight"].item() == 7.0
