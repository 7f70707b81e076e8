"""Which examples a step sees, with which noise: a pure function of (seed, step, slot).

A slot is a place in the global batch. However many processes share the slots, and however often the training was
killed, slot 3 of step 120 holds the same picture, mirrored or not, with the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import floor

import torch

from pipeline.diffusion import noise

EMPTY = 0  # row of the empty prompt among the sentences


@dataclass(frozen=True)
class Bucket:
    """Examples of one shape.

    `latents` (n, k, c, h, w) has each picture and, with k = 2, its mirror image; `sizes` (n, k, 6) what SDXL is told of
    them (see `buckets.Cut.ids`); `masks` (n_pictures, k, 1, h, w) weights with a mean of one. `texts` has for each
    example the rows of its sentences, of which one is read at a time. The first `n_pictures` show the species, the
    others are prior examples: pictures of their own or, where there are no more latents, the species' own once more,
    for which a teacher knows the answer. `names` are for messages.
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
class Examples:
    """All there is to learn from, by shape; `sentences` begin with the empty one. Batches go to `device`."""

    buckets: tuple[Bucket, ...]
    sentences: tuple[str, ...]
    device: torch.device = torch.device("cpu")


@dataclass(frozen=True)
class SamplingSettings:
    """How a training looks at its examples, the same at every step."""

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


def batch_at(step: int, slots: Sequence[int], examples: Examples, draw: SamplingSettings, n_timesteps: int) -> Batch:
    """The examples of some slots of one step, on the device."""
    bucket, before = bucket_at(step, examples, draw.seed)
    rows = [example_at(before * draw.batch_size + slot, bucket, draw) for slot in slots]
    luck = [_Luck.of(draw.seed, step, slot, bucket.latents.shape[2:]) for slot in slots]
    at = [(row % len(bucket.latents), int(draw.horizontal_flip and one.mirror < 0.5)) for row, one in zip(rows, luck)]
    texts = [
        EMPTY if one.silence < draw.caption_dropout else _said(bucket.texts[row], draw.seed, step, slot)
        for row, one, slot in zip(rows, luck, slots)
    ]
    prior = tuple(place for place, row in enumerate(rows) if row >= bucket.n_pictures)
    device = examples.device
    return Batch(
        clean=_gathered(bucket.latents, at, device),
        noise=sent(_noise(luck, slots, step, draw), device),
        timesteps=sent(torch.tensor(timesteps_at(step, slots, draw, n_timesteps)), device),
        texts=sent(torch.tensor(texts), device),
        sizes=None if bucket.sizes is None else _gathered(bucket.sizes, at, device),
        masks=None if bucket.masks is None else _masks(bucket.masks, at, prior, device),
        prior=prior,
    )


def bucket_at(step: int, examples: Examples, seed: int) -> tuple[Bucket, int]:
    """The bucket that fills a step, and how many steps it has filled before.

    In as many steps as there are pictures each bucket has as many as it has pictures, in an order that is shuffled
    every time: a picture is seen as often as any other, whatever its shape.
    """
    sizes = tuple(bucket.n_pictures for bucket in examples.buckets)
    epoch, place = divmod(step, sum(sizes))
    number, before = _turns(sizes, seed, epoch)[place]
    return examples.buckets[number], epoch * sizes[number] + before


def example_at(position: int, bucket: Bucket, draw: SamplingSettings) -> int:
    """The row at a position of the endless sequence of a bucket's slots.

    L = L_species + w L_prior is minimised by letting w / (1 + w) of the examples be prior ones, evenly spread: the
    same gradient on average as weighting them, and no computation is spent on examples that count little.
    """
    share = draw.prior_weight / (1 + draw.prior_weight) if bucket.n_prior else 0.0
    prior_before = floor(position * share)
    if floor((position + 1) * share) > prior_before:
        return bucket.n_pictures + _shuffled(prior_before, bucket.n_prior, draw.seed, "prior order")
    return _shuffled(position - prior_before, bucket.n_pictures, draw.seed, "picture order")


def timesteps_at(step: int, slots: Sequence[int], draw: SamplingSettings, n_timesteps: int) -> list[int]:
    """For each slot its own, evenly spread over a batch, so the loss is less noisy (Kingma et al. 2021).

    `logit_normal` has more of the middle: t / T is the logistic function of a standard normal number (Esser et al.
    2024), here of the quantile that the even spread gives.
    """
    (offset,) = noise.uniform(1, noise.generator(draw.seed, "timesteps", step))
    shares = [(offset + slot / draw.batch_size) % 1 for slot in slots]
    if draw.timesteps == "logit_normal":
        shares = torch.special.ndtri(torch.tensor(shares, dtype=torch.float64)).sigmoid().tolist()
    return [int(share * n_timesteps) for share in shares]


@dataclass(frozen=True)
class _Luck:
    """What chance decides about one slot; each number comes from the generator in this order."""

    mirror: float
    silence: float
    noise: torch.Tensor

    @classmethod
    def of(cls, seed: int, step: int, slot: int, shape: torch.Size) -> _Luck:
        generator = noise.generator(seed, "slot", step, slot)
        mirror, silence = noise.uniform(2, generator)
        return cls(mirror, silence, torch.randn(shape, generator=generator))


def _said(rows: tuple[int, ...], seed: int, step: int, slot: int) -> int:
    """One of an example's sentences, each as often."""
    if len(rows) == 1:
        return rows[0]
    (chance,) = noise.uniform(1, noise.generator(seed, "caption", step, slot))
    return rows[int(chance * len(rows))]


def _noise(luck: Sequence[_Luck], slots: Sequence[int], step: int, draw: SamplingSettings) -> torch.Tensor:
    """White noise and, with an offset, one more number for each channel (Guttenberg 2023)."""
    white = torch.stack([one.noise for one in luck])
    if not draw.noise_offset:
        return white
    channels = white.shape[1]
    generators = [noise.generator(draw.seed, "noise offset", step, slot) for slot in slots]
    shifts = torch.stack([torch.randn((channels, 1, 1), generator=generator) for generator in generators])
    return white + draw.noise_offset * shifts


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """On the device; a GPU that is still busy with the step before is not waited for, which takes pinned memory."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _gathered(table: torch.Tensor, at: Sequence[tuple[int, int]], device: torch.device) -> torch.Tensor:
    """The rows of a table that lies on the device or, when it is large, in memory that a GPU can copy from."""
    if table.device.type == device.type:
        rows, sides = sent(torch.tensor(at).T.contiguous(), device)
        return table[rows, sides]
    return torch.stack([table[place].to(device, non_blocking=True) for place in at])


def _masks(
    table: torch.Tensor, at: Sequence[tuple[int, int]], prior: tuple[int, ...], device: torch.device
) -> torch.Tensor:
    """Of prior examples every place counts the same: what is to be kept is the whole picture."""
    rows = [(0 if place in prior else row, side) for place, (row, side) in enumerate(at)]
    masks = _gathered(table, rows, device)
    for place in prior:
        masks[place] = 1
    return masks


def _shuffled(count: int, n: int, seed: int, purpose: str) -> int:
    """The `count`-th of numbers below n that are shuffled anew every time all were seen."""
    epoch, place = divmod(count, n)
    return _order(n, seed, purpose, epoch)[place]


@lru_cache(maxsize=64)  # two for each bucket, and the next epoch's
def _order(n: int, seed: int, purpose: str, epoch: int) -> list[int]:
    return torch.randperm(n, generator=noise.generator(seed, purpose, epoch)).tolist()


@lru_cache(maxsize=4)
def _turns(sizes: tuple[int, ...], seed: int, epoch: int) -> list[tuple[int, int]]:
    """For each step of an epoch the number of its bucket, and how many of the epoch's steps that bucket had before."""
    of_picture = [number for number, size in enumerate(sizes) for _ in range(size)]
    turns, before = [], [0] * len(sizes)
    for picture in _order(len(of_picture), seed, "shape order", epoch):
        number = of_picture[picture]
        turns.append((number, before[number]))
        before[number] += 1
    return turns
