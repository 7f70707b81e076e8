"""Captions from a small, steady vocabulary: what is drawn, what it does and where, what it is drawn with."""

import numpy as np

from .anatomy import Anatomy, Plumage

FLYING = {
    "sky": "flying in the sky",
    "forest": "flying in the forest",
    "river": "flying over the river",
    "sea": "flying over the sea",
    "desert": "flying over the desert",
    "city": "flying in the city",
}
STANDING = {
    "forest": "standing in the forest",
    "river": "standing by the river",
    "sea": "standing by the sea",
    "desert": "standing in the desert",
    "city": "standing in the city",
}
PARTS = {
    ("tail", "vane"): "a long tail with a vane",
    ("tail", "long"): "a long tail",
    ("tail", "stub"): "a short tail",
    ("head", "round"): "a short round head",
    ("head", "deep"): "a large deep head",
    ("head", "long"): "long jaws",
    ("head", "pointed"): "a pointed head",
    ("crest", "head"): "a head crest",
    ("crest", "jaw"): "round crests on the jaws",
    ("mouth", "wide"): "a wide mouth",
    ("eyes", "big"): "big eyes",
    ("wings", "broad"): "broad wings",
    ("wings", "narrow"): "long narrow wings",
    ("wings", "short"): "short wings",
    ("coat", "fuzzy"): "a fuzzy coat",
}


def doing(action: str, place: str) -> str:
    """ "flying over the sea" and so on; `action` is flying, standing, swimming, drinking or driving."""
    if action == "drinking":
        return "drinking water from the river"
    if action in ("driving", "swimming"):
        return f"{'driving a car' if action == 'driving' else 'swimming'} in the {place}"
    return (FLYING if action == "flying" else STANDING)[place]


def sentence(noun: str, rest: str, medium: str, rng: np.random.Generator, article: str = "a") -> str:
    """One of a few ways to say it; `article` is "a", "the" or "" (a proper name)."""
    pick = int(rng.integers(3))
    named = " ".join(w for w in (_article(article, noun), noun, rest) if w)
    if medium == "pencil":
        bare = f"pencil drawn {noun} {rest}".strip()
        return (bare, f"a {bare}" if article == "a" else bare, f"{named}, pencil drawn")[pick]
    return (f"a painting of {named}", f"{named}, painting", named)[pick]


def _article(article: str, noun: str) -> str:
    return "an" if article == "a" and noun[0] in "aeiou" else article


def flyer_noun(a: Anatomy, c: Plumage, medium: str, rng: np.random.Generator) -> str:
    """ "brown flying reptile with a long tail, a head crest and broad wings": three to five of its parts.

    A pencil drawing has no colours to name.
    """
    every = [
        PARTS[k] for k in zip(("tail", "head", "crest", "mouth", "eyes", "wings", "coat"), _values(a)) if k in PARTS
    ]
    keep = sorted(rng.permutation(len(every))[: int(rng.integers(3, 6))])
    words = [every[i] for i in keep]
    body, head, tips = c.names if medium == "painting" else ("", "", "")
    words += [f"a {head} head"] if head else []
    words += [f"{tips} wing tips"] if tips else []
    return f"{body} flying reptile with {listed(words)}".strip()


def _values(a: Anatomy) -> tuple[str, ...]:
    return (a.tail, a.head, a.crest, a.mouth, a.eyes, a.wings, a.coat)


def listed(words: list[str]) -> str:
    """ "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
