from collections import Counter
from dataclasses import fields, replace

import pytest
import torch

from pipeline.training.data.batches import (
    EMPTY_PROMPT,
    Bucket,
    EncodedDataset,
    SamplingSettings,
    batch_at,
    bucket_at,
    example_at,
    timesteps_at,
)

T = 1000


def _bucket(n_pictures: int = 5, n_prior: int = 3, shape: tuple[int, int] = (4, 4), first: int = 0, **more) -> Bucket:
    n = n_pictures + n_prior
    plain = torch.arange(first, first + n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 2, *shape)
    texts = tuple((row + 1,) for row in range(n_pictures)) + ((n_pictures + 1,),) * n_prior
    sizes = torch.arange(n * 2 * 6, dtype=torch.float32).view(n, 2, 6)
    return Bucket(
        torch.stack([plain, -plain - 1], dim=1), texts, n_pictures, tuple(map(str, range(n))), sizes=sizes, **more
    )


def _dataset(*args, **options) -> EncodedDataset:
    bucket = _bucket(*args, **options)
    return EncodedDataset((bucket,), ("",) * (bucket.n_pictures + 2))


def _sampling(**changes) -> SamplingSettings:
    return SamplingSettings(
        **{"seed": 3, "batch_size": 8, "horizontal_flip": True, "caption_dropout": 0.1, "prior_weight": 0.5, **changes}
    )


def _same(a, b) -> bool:
    return all(
        torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
        for x, y in ((getattr(a, one.name), getattr(b, one.name)) for one in fields(a))
    )


def _full_dataset() -> tuple[EncodedDataset, SamplingSettings]:
    """Several shapes, sentences and masks, every kind of randomness."""
    masks = torch.rand(5, 2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    first = replace(_bucket(masks=masks), texts=((1, 2, 3),) * 5 + ((4,),) * 3)
    dataset = EncodedDataset((first, _bucket(3, 2, (2, 8), first=50)), ("",) * 9)
    return dataset, _sampling(noise_offset=0.1, timesteps="logit_normal")


@pytest.mark.parametrize("kind", ["plain", "full"])
def test_a_batch_is_a_function_of_step_and_slots_alone(kind):
    dataset, sampling = _full_dataset() if kind == "full" else (_dataset(), _sampling())
    whole = batch_at(41, range(8), dataset, sampling, T)
    batch_at(40, range(8), dataset, sampling, T)
    assert _same(whole, batch_at(41, range(8), dataset, sampling, T))
    other = batch_at(42, range(8), dataset, sampling, T)
    assert not torch.equal(whole.noise.flatten(1), other.noise.flatten(1))


@pytest.mark.parametrize("kind", ["plain", "full"])
@pytest.mark.parametrize("shares", [[range(4), range(4, 8)], [[slot] for slot in range(8)]])
def test_slots_hold_the_same_however_they_are_split(shares, kind):
    dataset, sampling = _full_dataset() if kind == "full" else (_dataset(), _sampling())
    for step in range(6):
        whole = batch_at(step, range(8), dataset, sampling, T)
        parts = [batch_at(step, slots, dataset, sampling, T) for slots in shares]
        for name, value in vars(whole).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, torch.cat([getattr(part, name) for part in parts])), name
        places = [slots[place] for slots, part in zip(shares, parts) for place in part.prior]
        assert tuple(places) == whole.prior


def test_every_picture_is_used_once_before_any_is_used_again():
    bucket, sampling = _bucket(n_prior=0), _sampling()
    rows = [example_at(position, bucket, sampling) for position in range(15)]
    assert all(sorted(rows[start : start + 5]) == [0, 1, 2, 3, 4] for start in (0, 5, 10))
    assert rows[:5] != rows[5:10] or rows[5:10] != rows[10:]


@pytest.mark.parametrize("weight", [0.3, 1.0, 2.0])
def test_prior_pictures_have_the_share_of_their_weight(weight):
    bucket, sampling = _bucket(), _sampling(prior_weight=weight)
    prior = [example_at(position, bucket, sampling) >= bucket.n_pictures for position in range(3000)]
    assert sum(prior) / len(prior) == pytest.approx(weight / (1 + weight), abs=0.002)
    per_batch = Counter(sum(prior[start : start + 8]) for start in range(0, 2400, 8))
    assert max(per_batch) - min(per_batch) <= 1


def test_without_prior_pictures_or_weight_there_are_none():
    for bucket, sampling in ((_bucket(n_prior=0), _sampling()), (_bucket(), _sampling(prior_weight=0.0))):
        assert max(example_at(position, bucket, sampling) for position in range(100)) < 5


def test_a_teachers_examples_are_the_pictures_of_the_species_once_more():
    pictures = _bucket(5, 0)
    with_teacher = replace(pictures, texts=pictures.texts + ((6,),) * 5)
    dataset, sampling = (
        EncodedDataset((with_teacher,), ("",) * 7),
        _sampling(horizontal_flip=False, caption_dropout=0.0),
    )
    used: Counter[float] = Counter()
    for step in range(60):
        batch = batch_at(step, range(8), dataset, sampling, T)
        assert [place for place in range(8) if batch.texts[place] == 6] == list(batch.prior)
        used.update(batch.clean[list(batch.prior), 0, 0, 0].tolist())
    assert set(used) == {0, 1, 2, 3, 4} and max(used.values()) - min(used.values()) <= 1


def test_timesteps_are_spread_over_a_batch_and_uniform_over_steps():
    batch = sorted(timesteps_at(9, range(8), _sampling(), T))
    gaps = {later - earlier for earlier, later in zip(batch, batch[1:])}
    assert gaps <= {124, 125, 126} and batch[0] >= 0 and batch[-1] < T
    over_steps = [timesteps_at(step, [3], _sampling(), T)[0] for step in range(400)]
    assert 470 < sum(over_steps) / len(over_steps) < 530 and min(over_steps) < 20 and max(over_steps) > 980


def test_logit_normal_timesteps_are_those_of_its_quantiles_and_as_evenly_spread():
    sampling = _sampling(timesteps="logit_normal")
    drawn = torch.tensor([timesteps_at(step, range(8), sampling, T) for step in range(500)], dtype=torch.float64)
    logits = ((drawn + 0.5) / T).logit()
    assert logits.mean() == pytest.approx(0, abs=0.02) and logits.std() == pytest.approx(1, abs=0.02)
    quantiles = torch.special.ndtr(logits).sort(dim=1).values
    torch.testing.assert_close(
        quantiles.diff(dim=1), torch.full((500, 7), 1 / 8, dtype=torch.float64), atol=4e-3, rtol=0
    )


def test_flips_and_dropped_captions_have_the_shares_of_the_params():
    dataset = _dataset(n_prior=0)

    def shares(sampling):
        batches = [batch_at(step, range(8), dataset, sampling, T) for step in range(60)]
        flipped = torch.cat([batch.clean[:, 0, 0, 0] < 0 for batch in batches]).float().mean()
        dropped = torch.cat([batch.texts == EMPTY_PROMPT for batch in batches]).float().mean()
        return float(flipped), float(dropped)

    assert shares(_sampling(caption_dropout=0.25)) == (pytest.approx(0.5, abs=0.08), pytest.approx(0.25, abs=0.06))
    assert shares(_sampling(horizontal_flip=False, caption_dropout=0.0)) == (0.0, 0.0)


def test_each_sentence_of_a_picture_is_used_as_often_and_changes_no_other_random_number():
    plain = _dataset(n_prior=0)
    several = replace(plain, buckets=(replace(plain.buckets[0], texts=((1, 2, 3, 4),) * 5),))
    counts: Counter[int] = Counter()
    for step in range(200):
        one, other = (batch_at(step, range(8), each, _sampling(caption_dropout=0.2), T) for each in (plain, several))
        assert torch.equal(one.noise, other.noise) and torch.equal(one.clean, other.clean)
        assert torch.equal(one.texts == EMPTY_PROMPT, other.texts == EMPTY_PROMPT)
        counts.update(other.texts[other.texts != EMPTY_PROMPT].tolist())
    assert set(counts) == {1, 2, 3, 4}
    assert all(n / counts.total() == pytest.approx(0.25, abs=0.05) for n in counts.values())


def test_an_offset_shifts_whole_channels_and_nothing_else():
    dataset = _dataset(shape=(16, 16))
    plain, shifted = (batch_at(7, range(8), dataset, _sampling(noise_offset=offset), T) for offset in (0.0, 0.5))
    shift = (shifted.noise - plain.noise)[..., 0, 0]
    torch.testing.assert_close(shifted.noise, plain.noise + shift[..., None, None])
    assert 0.2 < shift.std() < 1.0 and torch.equal(shifted.timesteps, plain.timesteps)


def test_a_step_has_one_shape_and_every_picture_is_seen_as_often():
    buckets = (_bucket(5, 0), _bucket(2, 0, (2, 8), first=50), _bucket(1, 0, (8, 2), first=90))
    dataset, sampling = EncodedDataset(buckets, ("",) * 9), _sampling(horizontal_flip=False)
    used: Counter[float] = Counter()
    for step in range(5 * 8):
        used.update(batch_at(step, range(8), dataset, sampling, T).clean[:, 0, 0, 0].tolist())
    assert used == dict.fromkeys([0, 1, 2, 3, 4, 50, 51, 90], 40)
    order = [bucket_at(step, dataset, 3)[0].n_pictures for step in range(16)]
    assert Counter(order[:8]) == Counter(order[8:]) == {5: 5, 2: 2, 1: 1}
    assert order != [bucket_at(step, dataset, 4)[0].n_pictures for step in range(16)]


def test_sizes_belong_to_the_picture_and_its_side_and_prior_examples_have_no_masks():
    masks = torch.arange(10, dtype=torch.float32).view(5, 2, 1, 1, 1).expand(5, 2, 1, 4, 4) + 10
    dataset, sampling = _dataset(masks=masks), _sampling()
    for step in range(10):
        batch = batch_at(step, range(8), dataset, sampling, T)
        for place, value in enumerate(batch.clean[:, 0, 0, 0].tolist()):
            row, side = (int(-value - 1), 1) if value < 0 else (int(value), 0)
            assert torch.equal(batch.sizes[place], dataset.buckets[0].sizes[row, side])
            wanted = 1.0 if place in batch.prior else 10.0 + 2 * row + side
            assert batch.masks[place].unique().tolist() == [wanted]


def test_a_table_that_is_too_large_for_the_device_gives_the_same_batch():
    from pipeline.training.data.batches import _take

    table, at = torch.randn(6, 2, 3), [(5, 0), (1, 1), (5, 1)]
    moved = _take(table, at, torch.device("meta"))
    assert moved.shape == (3, 3) and moved.device.type == "meta"
    assert torch.equal(_take(table, at, torch.device("cpu")), torch.stack([table[place] for place in at]))
