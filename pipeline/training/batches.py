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

EMPTY = 0  # row of the empty prompt among the texts


@dataclass(frozen=True)
class Examples:
    """All there is to learn from, small enough to lie on the device as a whole.

    `latents` (n, 2, c, h, w) has each picture and its mirror image; `texts` has the row of each one's sentence among
    `sentences`, of which the first is empty. The first `n_pictures` show the species, the others are prior pictures.
    `names` are for messages.
    """

    latents: torch.Tensor
    texts: tuple[int, ...]
    sentences: tuple[str, ...]
    n_pictures: int
    names: tuple[str, ...] = ()

    @property
    def n_prior(self) -> int:
        return len(self.texts) - self.n_pictures


@dataclass(frozen=True)
class Draw:
    """How a training looks at its examples, the same at every step."""

    seed: int
    batch_size: int
    mirror: bool
    caption_dropout: float
    prior_weight: float


@dataclass(frozen=True)
class Batch:
    """`clean` and `noise` (b, c, h, w), `timesteps` (b,), `texts` (b,) rows of the sentences."""

    clean: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    texts: torch.Tensor


def batch_at(step: int, slots: Sequence[int], examples: Examples, draw: Draw, n_timesteps: int) -> Batch:
    """The examples of some slots of one step, on the device of the latents."""
    rows = [example_at(step * draw.batch_size + slot, examples, draw) for slot in slots]
    luck = [_Luck.of(draw.seed, step, slot, examples.latents.shape[2:]) for slot in slots]
    mirrored = [int(draw.mirror and one.mirror < 0.5) for one in luck]
    texts = [EMPTY if one.silence < draw.caption_dropout else examples.texts[row] for row, one in zip(rows, luck)]
    device = examples.latents.device
    return Batch(
        clean=examples.latents[torch.tensor(rows, device=device), torch.tensor(mirrored, device=device)],
        noise=torch.stack([one.noise for one in luck]).to(device),
        timesteps=torch.tensor(timesteps_at(step, slots, draw, n_timesteps), device=device),
        texts=torch.tensor(texts, device=device),
    )


def example_at(position: int, examples: Examples, draw: Draw) -> int:
    """The row at a position of the endless sequence of slots.

    L = L_species + w L_prior is minimised by letting w / (1 + w) of the examples be prior pictures, evenly spread:
    the same gradient on average as weighting them, and no computation is spent on examples that count little.
    """
    share = draw.prior_weight / (1 + draw.prior_weight) if examples.n_prior else 0.0
    prior_before = floor(position * share)
    if floor((position + 1) * share) > prior_before:
        return examples.n_pictures + _shuffled(prior_before, examples.n_prior, draw.seed, "prior order")
    return _shuffled(position - prior_before, examples.n_pictures, draw.seed, "picture order")


def timesteps_at(step: int, slots: Sequence[int], draw: Draw, n_timesteps: int) -> list[int]:
    """Uniform for each slot and evenly spread over a batch, so the loss is less noisy (Kingma et al. 2021)."""
    (offset,) = noise.uniform(1, noise.generator(draw.seed, "timesteps", step))
    return [int((offset + slot / draw.batch_size) % 1 * n_timesteps) for slot in slots]


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


def _shuffled(count: int, n: int, seed: int, purpose: str) -> int:
    """The `count`-th of numbers below n that are shuffled anew every time all were seen."""
    epoch, place = divmod(count, n)
    return _order(n, seed, purpose, epoch)[place]


@lru_cache(maxsize=4)
def _order(n: int, seed: int, purpose: str, epoch: int) -> list[int]:
    return torch.randperm(n, generator=noise.generator(seed, purpose, epoch)).tolist()
