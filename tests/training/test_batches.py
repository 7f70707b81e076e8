from collections import Counter

import pytest
import torch

from pipeline.training.batches import EMPTY, Draw, Examples, batch_at, example_at, timesteps_at

T = 1000


def _examples(n_pictures: int = 5, n_prior: int = 3) -> Examples:
    n = n_pictures + n_prior
    plain = torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 2, 4, 4)
    texts = tuple(range(1, n_pictures + 1)) + (n_pictures + 1,) * n_prior
    return Examples(torch.stack([plain, -plain - 1], dim=1), texts, ("",) * (n_pictures + 2), n_pictures)


def _draw(**changes) -> Draw:
    return Draw(**{"seed": 3, "batch_size": 8, "mirror": True, "caption_dropout": 0.1, "prior_weight": 0.5, **changes})


def _same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_a_batch_is_a_function_of_step_and_slots_alone():
    examples, draw = _examples(), _draw()
    whole = batch_at(41, range(8), examples, draw, T)
    batch_at(40, range(8), examples, draw, T)
    assert _same(whole, batch_at(41, range(8), examples, draw, T))
    assert not torch.equal(whole.noise, batch_at(42, range(8), examples, draw, T).noise)


@pytest.mark.parametrize("shares", [[range(4), range(4, 8)], [[slot] for slot in range(8)]])
def test_however_the_slots_are_shared_they_hold_the_same(shares):
    examples, draw = _examples(), _draw()
    whole = batch_at(5, range(8), examples, draw, T)
    parts = [batch_at(5, slots, examples, draw, T) for slots in shares]
    for name, value in vars(whole).items():
        assert torch.equal(value, torch.cat([getattr(part, name) for part in parts]))


def test_every_picture_is_seen_once_before_any_is_seen_again():
    examples, draw = _examples(n_prior=0), _draw()
    rows = [example_at(position, examples, draw) for position in range(15)]
    assert all(sorted(rows[start : start + 5]) == [0, 1, 2, 3, 4] for start in (0, 5, 10))
    assert rows[:5] != rows[5:10] or rows[5:10] != rows[10:]


@pytest.mark.parametrize("weight", [0.3, 1.0, 2.0])
def test_prior_pictures_have_the_share_of_their_weight(weight):
    examples, draw = _examples(), _draw(prior_weight=weight)
    prior = [example_at(position, examples, draw) >= examples.n_pictures for position in range(3000)]
    assert sum(prior) / len(prior) == pytest.approx(weight / (1 + weight), abs=0.002)
    per_batch = Counter(sum(prior[start : start + 8]) for start in range(0, 2400, 8))
    assert max(per_batch) - min(per_batch) <= 1


def test_without_prior_pictures_or_weight_there_are_none():
    for examples, draw in ((_examples(n_prior=0), _draw()), (_examples(), _draw(prior_weight=0.0))):
        assert max(example_at(position, examples, draw) for position in range(100)) < 5


def test_timesteps_are_spread_over_a_batch_and_uniform_over_steps():
    batch = sorted(timesteps_at(9, range(8), _draw(), T))
    gaps = {later - earlier for earlier, later in zip(batch, batch[1:])}
    assert gaps <= {124, 125, 126} and batch[0] >= 0 and batch[-1] < T
    over_steps = [timesteps_at(step, [3], _draw(), T)[0] for step in range(400)]
    assert 470 < sum(over_steps) / len(over_steps) < 530 and min(over_steps) < 20 and max(over_steps) > 980


def test_mirrored_and_silenced_as_often_as_asked():
    examples = _examples(n_prior=0)

    def shares(draw):
        batches = [batch_at(step, range(8), examples, draw, T) for step in range(60)]
        mirrored = torch.cat([batch.clean[:, 0, 0, 0] < 0 for batch in batches]).float().mean()
        silent = torch.cat([batch.texts == EMPTY for batch in batches]).float().mean()
        return float(mirrored), float(silent)

    assert shares(_draw(caption_dropout=0.25)) == (pytest.approx(0.5, abs=0.08), pytest.approx(0.25, abs=0.06))
    assert shares(_draw(mirror=False, caption_dropout=0.0)) == (0.0, 0.0)
