"""Randomised captions of a drawing, and made-up names of taxa."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from pipeline.pretraining.drawings import Description

MEDIA = {"painted": "painting", "pencil drawn": "pencil drawing"}


def with_article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def caption_in_style(description: Description, style: str, generator: torch.Generator, name: str = "") -> str:
    """One way to describe a drawing: `full`, `noun`, `medium`, `parts`, `place` or `name`."""
    noun, medium, doing = description.noun, description.medium, description.doing
    if style == "name" and doing:
        return f"{medium} {name} {doing}" if medium == "pencil drawn" else f"{name} {doing}"
    if style == "noun":
        return noun
    if style == "medium":
        return random_key(
            {f"{medium} {noun}": 1.0, f"{with_article(MEDIA[medium])} of {with_article(noun)}": 2.0}, generator
        )
    if style == "parts" and description.parts:
        return f"{with_article(noun)} with {' and '.join(random_subset(description.parts, generator))}"
    if style == "place":
        return f"{with_article(noun)} {doing}" if doing else f"{with_article(noun)}, {description.background}"
    return description.caption


def random_subset(items: Sequence[str], generator: torch.Generator) -> list[str]:
    """A random non-empty selection, in the given order."""
    size = 1 + int(torch.randint(len(items), (1,), generator=generator))
    indices = torch.randperm(len(items), generator=generator)[:size].tolist()
    return [items[index] for index in sorted(indices)]


def random_key(probabilities: Mapping[str, float], generator: torch.Generator) -> str:
    """One key, with its value as the probability."""
    index = torch.multinomial(torch.tensor(list(probabilities.values())), 1, generator=generator)
    return list(probabilities)[int(index)]


def random_item(items: Sequence[str], generator: torch.Generator) -> str:
    return items[int(torch.randint(len(items), (1,), generator=generator))]


# Words in a string: the formatter would put each of a list on a line of its own.
# ruff: noqa: SIM905
NAME_STARTS = (
    "ano aego brachy caelo dendro eo ela foro gala hespero iso jeho kun lepto mega noro ocu pachy quasi rhae sino "
    "tala uro vela wuko xeno yi zhe"
).split()
NAME_MIDDLES = "a o pto ri ra no ma lo dacty rhy gna the cheiro ce mi".split()
NAME_ENDS = (
    "crops don dontidae idae pterus saurus gnathus rhynchus morpha ops teryx venator raptor mimus cheirus"
).split()
EPITHETS = "grandis minor rex longi wangi smithi bauri andei ensis borealis magna nova sinensis ornatus".split()


def made_up_name(generator: torch.Generator) -> str:
    """A name as taxa have them, of no taxon: people will prompt with words that the model has never seen.

    With such names in some captions an unknown word means "some animal", instead of anything at all.
    """
    parts = (NAME_STARTS, NAME_MIDDLES, NAME_ENDS, EPITHETS)
    start, middle, end, epithet = (random_item(items, generator) for items in parts)
    return start + middle + end + random_key({"": 0.6, " " + epithet: 0.4}, generator)
