"""The drawings that pre-training learns from, as arrays, and the many ways to say what is on one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Words:
    """What is known about one drawing; `doing` is "flying over the sea", or empty for what is not alive."""

    caption: str
    noun: str
    parts: tuple[str, ...]
    doing: str
    background: str
    medium: str
    looks_left: bool = False


@dataclass(frozen=True)
class DrawingSet:
    """n drawings: squares (n, px, px, 3) uint8 and their words."""

    squares: np.ndarray
    words: tuple[Words, ...]

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, rows: slice) -> DrawingSet:
        return DrawingSet(self.squares[rows], self.words[rows])

    def pixels(self, rows: Sequence[int]) -> torch.Tensor:
        """(len(rows), 3, px, px) in 0..1."""
        return torch.from_numpy(self.squares[np.asarray(rows)]).permute(0, 3, 1, 2).float() / 255


def generator_at(seed: int, purpose: str, step: int) -> torch.Generator:
    """Counter-based randomness: the same at step k whether or not the run was ever interrupted."""
    key = np.random.SeedSequence([seed, step, *purpose.encode()]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(key >> np.uint64(1)))


def batch_at(count: int, size: int, generator: torch.Generator) -> list[int]:
    """Which of `count` drawings a step sees."""
    return torch.randint(count, (size,), generator=generator).tolist()


def flip(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror half of (n, c, h, w): no caption says left or right."""
    mirrored = torch.rand(len(pixels), generator=generator) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), pixels.flip(-1), pixels)


MEDIA = {"painted": "painting", "pencil drawn": "pencil drawing"}


def a(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def sentence(words: Words, style: str, generator: torch.Generator, name: str = "") -> str:
    """One way to describe a drawing: `full`, `noun`, `medium`, `parts`, `place` or `name`."""
    if style == "name" and words.doing:
        return f"{words.medium} {name} {words.doing}" if words.medium == "pencil drawn" else f"{name} {words.doing}"
    if style == "noun":
        return words.noun
    if style == "medium":
        return pick(
            {f"{words.medium} {words.noun}": 1.0, f"{a(MEDIA[words.medium])} of {a(words.noun)}": 2.0}, generator
        )
    if style == "parts" and words.parts:
        return f"{a(words.noun)} with {' and '.join(some(words.parts, generator))}"
    if style == "place":
        return f"{a(words.noun)} {words.doing}" if words.doing else f"{a(words.noun)}, {words.background}"
    return words.caption


def some(parts: tuple[str, ...], generator: torch.Generator) -> list[str]:
    """A random non-empty selection, in the given order."""
    wanted = 1 + int(torch.randint(len(parts), (1,), generator=generator))
    chosen = torch.randperm(len(parts), generator=generator)[:wanted].tolist()
    return [parts[index] for index in sorted(chosen)]


def pick(styles: dict[str, float], generator: torch.Generator) -> str:
    """One key, with its value as the probability."""
    index = torch.multinomial(torch.tensor(list(styles.values())), 1, generator=generator)
    return list(styles)[int(index)]


FIRST = [
    "ano",
    "aego",
    "brachy",
    "caelo",
    "dendro",
    "eo",
    "ela",
    "foro",
    "gala",
    "hespero",
    "iso",
    "jeho",
    "kun",
    "lepto",
    "mega",
    "noro",
    "ocu",
    "pachy",
    "quasi",
    "rhae",
    "sino",
    "tala",
    "uro",
    "vela",
    "wuko",
    "xeno",
    "yi",
    "zhe",
]
MIDDLE = ["a", "o", "pto", "ri", "ra", "no", "ma", "lo", "dacty", "rhy", "gna", "the", "cheiro", "ce", "mi"]
LAST = [
    "crops",
    "don",
    "dontidae",
    "idae",
    "pterus",
    "saurus",
    "gnathus",
    "rhynchus",
    "morpha",
    "ops",
    "teryx",
    "venator",
    "raptor",
    "mimus",
    "cheirus",
]
EPITHET = [
    "grandis",
    "minor",
    "rex",
    "longi",
    "wangi",
    "smithi",
    "bauri",
    "andei",
    "ensis",
    "borealis",
    "magna",
    "nova",
    "sinensis",
    "ornatus",
]


def made_up_name(generator: torch.Generator) -> str:
    """A name as taxa have them, of no taxon: what people will ask for is a word that the model has never seen.

    With such names in some captions an unknown word means "some animal", instead of anything at all.
    """
    first, middle, last, epithet = (choose(parts, generator) for parts in (FIRST, MIDDLE, LAST, EPITHET))
    return first + middle + last + pick({"": 0.6, " " + epithet: 0.4}, generator)


def choose(items: Sequence[str], generator: torch.Generator) -> str:
    return items[int(torch.randint(len(items), (1,), generator=generator))]
