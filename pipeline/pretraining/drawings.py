"""The drawings that the base model is pre-trained on, with what is known about each; counter-based batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Description:
    """What is known about one drawing; `doing` is "flying over the sea", or empty for what is not alive.

    The names are also those of the records on disk.
    """

    caption: str
    noun: str
    parts: tuple[str, ...]
    doing: str
    background: str
    medium: str
    looks_left: bool = False


@dataclass(frozen=True)
class DrawingSet:
    """n drawings: images (n, px, px, 3) uint8 and their descriptions."""

    images: np.ndarray
    descriptions: tuple[Description, ...]

    def __len__(self) -> int:
        return len(self.descriptions)

    def __getitem__(self, rows: slice) -> DrawingSet:
        return DrawingSet(self.images[rows], self.descriptions[rows])

    def pixels(self, rows: Sequence[int]) -> torch.Tensor:
        """(len(rows), 3, px, px) in 0..1."""
        return torch.from_numpy(self.images[np.asarray(rows)]).permute(0, 3, 1, 2).float() / 255


def generator_at(seed: int, purpose: str, step: int) -> torch.Generator:
    """Counter-based randomness: the same at step k whether or not the run was ever interrupted."""
    key = np.random.SeedSequence([seed, step, *purpose.encode()]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(key >> np.uint64(1)))


def random_rows(count: int, size: int, generator: torch.Generator) -> list[int]:
    """A batch: `size` of `count` drawings, with repetition."""
    rows: list[int] = torch.randint(count, (size,), generator=generator).tolist()
    return rows


def random_flip(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror half of (n, c, h, w): no caption says left or right."""
    mirrored = torch.rand(len(pixels), generator=generator) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), pixels.flip(-1), pixels)
