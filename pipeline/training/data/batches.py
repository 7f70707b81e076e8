"""Batches: which examples a step has, with which noise, as a pure function of (seed, step, slot).

A slot is a place in the global batch. However many processes share the slots, and however often the training was
killed, slot 3 of step 120 holds the same picture, flipped or not, with the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import floor

import torch

from pipeline.diffusion import noise

EMPTY_PROMPT = 0  # its row among the sentences


@dataclass(frozen=True)
class Bucket:
    """Examples of one shape.

    `latents` (n, k, c, h, w) has each picture and, with k = 2, its mirror image; `sizes` (n, k, 6) the size conditions
    of SDXL (see `buckets.Crop.size_ids`); `masks` (n_pictures, k, 1, h, w) weights with a mean of one. `texts` has for
    each example the rows of its sentences, of which one is used at a time. The first `n_pictures` show the species, the
    others are prior examples: pictures of their own or, where there are no more latents, the species' own once more,
    for which a teacher gives the target. `names` are for messages.
    """

    latents: torch.Tensor
    texts: tuple[tuple[int, ...], ...]
    n_pictures: int
    names: tuple[str, ...] = ()
    sizes: torch.Tensor | None = None
    masks: torch.Tensor | None = None

    @property
    def n_prior(self) -> int:
        return len(self.texts) - self.n_pictures


@dataclass(frozen=True)
class EncodedDataset:
    """All examples, by shape; `sentences` begin with the empty prompt. Batches are put on `device`."""

    buckets: tuple[Bucket, ...]
    sentences: tuple[str, ...]
    device: torch.device = torch.device("cpu")


@dataclass(frozen=True)
class SamplingSettings:
    """How examples are drawn, the same at every step."""

    seed: int
    batch_size: int
    horizontal_flip: bool
    caption_dropout: float
    prior_weight: float
    noise_offset: float = 0.0
    timesteps: str = "uniform"  # or logit_normal


@dataclass(frozen=True)
class Batch:
    """`clean` and `noise` (b, c, h, w), `timesteps` (b,), `texts` (b,) rows of the sentences.

    `sizes` (b, 6) and `masks` (b, 1, h, w) as the bucket has them; `prior` are the places of prior examples.
    """

    clean: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    texts: torch.Tensor
    sizes: torch.Tensor | None
    masks: torch.Tensor | None
    prior: tuple[int, ...]


def batch_at(
    step: int, slots: Sequence[int], dataset: EncodedDataset, sampling: SamplingSettings, n_timesteps: int
) -> Batch:
    """The examples of some slots of one step, on the device."""
    bucket, steps_before = bucket_at(step, dataset, sampling.seed)
    rows = [example_at(steps_before * sampling.batch_size + slot, bucket, sampling) for slot in slots]
    random = [_SlotRandomness.of(sampling.seed, step, slot, bucket.latents.shape[2:]) for slot in slots]
    at = [
        (row % len(bucket.latents), int(sampling.horizontal_flip and each.flip < 0.5))
        for row, each in zip(rows, random)
    ]
    texts = [
        EMPTY_PROMPT
        if each.dropout < sampling.caption_dropout
        else _choose_sentence(bucket.texts[row], sampling.seed, step, slot)
        for row, each, slot in zip(rows, random, slots)
    ]
    prior = tuple(place for place, row in enumerate(rows) if row >= bucket.n_pictures)
    device = dataset.device
    return Batch(
        clean=_take(bucket.latents, at, device),
        noise=to_device(_noise(random, slots, step, sampling), device),
        timesteps=to_device(torch.tensor(timesteps_at(step, slots, sampling, n_timesteps)), device),
        texts=to_device(torch.tensor(texts), device),
        sizes=None if bucket.sizes is None else _take(bucket.sizes, at, device),
        masks=None if bucket.masks is None else _masks(bucket.masks, at, prior, device),
        prior=prior,
    )


def bucket_at(step: int, dataset: EncodedDataset, seed: int) -> tuple[Bucket, int]:
    """The bucket that fills a step, and how many steps it has filled before.

    In as many steps as there are pictures each bucket has as many as it has pictures, in an order that is shuffled
    every time: a picture is used as often as any other, whatever its shape.
    """
    sizes = tuple(bucket.n_pictures for bucket in dataset.buckets)
    epoch, place = divmod(step, sum(sizes))
    number, before = _bucket_order(sizes, seed, epoch)[place]
    return dataset.buckets[number], epoch * sizes[number] + before


def example_at(position: int, bucket: Bucket, sampling: SamplingSettings) -> int:
    """The row at a position of the endless sequence of a bucket's slots.

    L = L_species + w L_prior is minimised by letting w / (1 + w) of the examples be prior ones, evenly spread: the
    same gradient on average as weighting them, and no computation is spent on examples that count little.
    """
    share = sampling.prior_weight / (1 + sampling.prior_weight) if bucket.n_prior else 0.0
    prior_before = floor(position * share)
    if floor((position + 1) * share) > prior_before:
        return bucket.n_pictures + _shuffled_index(prior_before, bucket.n_prior, sampling.seed, "prior order")
    return _shuffled_index(position - prior_before, bucket.n_pictures, sampling.seed, "picture order")


def timesteps_at(step: int, slots: Sequence[int], sampling: SamplingSettings, n_timesteps: int) -> list[int]:
    """For each slot its own, evenly spread over a batch, so the loss is less noisy (Kingma et al. 2021).

    `logit_normal` has more of the middle: t / T is the logistic function of a standard normal number (Esser et al.
    2024), here of the quantile that the even spread gives.
    """
    (offset,) = noise.uniform(1, noise.generator(sampling.seed, "timesteps", step))
    shares = [(offset + slot / sampling.batch_size) % 1 for slot in slots]
    if sampling.timesteps == "logit_normal":
        shares = torch.special.ndtri(torch.tensor(shares, dtype=torch.float64)).sigmoid().tolist()
    return [int(share * n_timesteps) for share in shares]


@dataclass(frozen=True)
class _SlotRandomness:
    """The random numbers of one slot, drawn in this order."""

    flip: float
    dropout: float
    noise: torch.Tensor

    @classmethod
    def of(cls, seed: int, step: int, slot: int, shape: torch.Size) -> _SlotRandomness:
        generator = noise.generator(seed, "slot", step, slot)
        flip, dropout = noise.uniform(2, generator)
        return cls(flip, dropout, torch.randn(shape, generator=generator))


def _choose_sentence(rows: tuple[int, ...], seed: int, step: int, slot: int) -> int:
    """The row of one of an example's sentences, each with the same probability."""
    if len(rows) == 1:
        return rows[0]
    (share,) = noise.uniform(1, noise.generator(seed, "caption", step, slot))
    return rows[int(share * len(rows))]


def _noise(
    random: Sequence[_SlotRandomness], slots: Sequence[int], step: int, sampling: SamplingSettings
) -> torch.Tensor:
    """White noise and, with an offset, one more number for each channel (Guttenberg 2023)."""
    white = torch.stack([each.noise for each in random])
    if not sampling.noise_offset:
        return white
    channels = white.shape[1]
    generators = [noise.generator(sampling.seed, "noise offset", step, slot) for slot in slots]
    shifts = torch.stack([torch.randn((channels, 1, 1), generator=generator) for generator in generators])
    return white + sampling.noise_offset * shifts


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device; from pinned memory, so that the copy does not wait for a GPU that is still busy."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _take(table: torch.Tensor, at: Sequence[tuple[int, int]], device: torch.device) -> torch.Tensor:
    """The rows of a table that lies on the device or, when it is large, in memory that a GPU can copy from."""
    if table.device.type == device.type:
        rows, sides = to_device(torch.tensor(at).T.contiguous(), device)
        return table[rows, sides]
    return torch.stack([table[place].to(device, non_blocking=True) for place in at])


def _masks(
    table: torch.Tensor, at: Sequence[tuple[int, int]], prior: tuple[int, ...], device: torch.device
) -> torch.Tensor:
    """Masks (b, 1, h, w); all of a prior example counts the same, since the whole picture is to be preserved."""
    rows = [(0 if place in prior else row, side) for place, (row, side) in enumerate(at)]
    masks = _take(table, rows, device)
    for place in prior:
        masks[place] = 1
    return masks


def _shuffled_index(count: int, n: int, seed: int, purpose: str) -> int:
    """The `count`-th of the numbers below n, which are shuffled anew after each pass over all of them."""
    epoch, place = divmod(count, n)
    return _permutation(n, seed, purpose, epoch)[place]


@lru_cache(maxsize=64)  # two for each bucket, and the next epoch's
def _permutation(n: int, seed: int, purpose: str, epoch: int) -> list[int]:
    return torch.randperm(n, generator=noise.generator(seed, purpose, epoch)).tolist()


@lru_cache(maxsize=4)
def _bucket_order(sizes: tuple[int, ...], seed: int, epoch: int) -> list[tuple[int, int]]:
    """For each step of an epoch the number of its bucket, and how many of the epoch's steps that bucket had before."""
    bucket_of_picture = [number for number, size in enumerate(sizes) for _ in range(size)]
    order, before = [], [0] * len(sizes)
    for picture in _permutation(len(bucket_of_picture), seed, "shape order", epoch):
        number = bucket_of_picture[picture]
        order.append((number, before[number]))
        before[number] += 1
    return order
