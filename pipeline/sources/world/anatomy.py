"""What a flying reptile is made of, which combinations are the three taxa, and the colours that have a name."""

from dataclasses import astuple, dataclass

import numpy as np

from .canvas import Colour, dark, jitter, light, mix

TAILS = ("vane", "long", "stub")
HEADS = ("round", "deep", "long", "pointed")
CRESTS = ("none", "head", "jaw")
WINGS = ("broad", "narrow", "short")

COLOURS: dict[str, Colour] = {
    "red": (192, 58, 48),
    "orange": (222, 130, 52),
    "yellow": (226, 190, 78),
    "green": (92, 146, 76),
    "blue": (66, 108, 172),
    "purple": (124, 84, 152),
    "brown": (134, 92, 58),
    "grey": (134, 138, 144),
    "white": (232, 226, 212),
    "black": (62, 58, 64),
}


@dataclass(frozen=True)
class Anatomy:
    """The parts by which flying reptiles differ here."""

    tail: str
    head: str
    crest: str
    mouth: str
    eyes: str
    wings: str
    coat: str

    @property
    def shape(self) -> tuple[str, str, str]:
        """Tail, head and wings: what a silhouette shows."""
        return self.tail, self.head, self.wings


TAXA: dict[str, Anatomy] = {
    "sinomacrops": Anatomy("stub", "round", "none", "wide", "big", "broad", "fuzzy"),
    "dimorphodontidae": Anatomy("vane", "deep", "none", "plain", "small", "short", "smooth"),
    "ornithocheiromorpha": Anatomy("stub", "long", "jaw", "plain", "small", "narrow", "smooth"),
}
NAMES = {
    "sinomacrops": "Sinomacrops bondei",
    "dimorphodontidae": "Dimorphodontidae",
    "ornithocheiromorpha": "Ornithocheiromorpha",
}


def is_taxon(anatomy: Anatomy) -> bool:
    """Whether the silhouette is one of the taxa's: stricter than equality, so that nothing close to them is shown."""
    return anatomy.shape in {a.shape for a in TAXA.values()}


def free(rng: np.random.Generator) -> Anatomy:
    """Freely combined parts that are none of the taxa."""
    while True:
        head = str(rng.choice(HEADS))
        anatomy = Anatomy(
            str(rng.choice(TAILS)),
            head,
            str(rng.choice(CRESTS, p=(0.4, 0.35, 0.25))),
            str(rng.choice(("wide", "plain"), p=(0.45, 0.55))),
            str(rng.choice(("big", "small"))),
            str(rng.choice(WINGS)),
            str(rng.choice(("fuzzy", "smooth"))),
        )
        if not is_taxon(anatomy):
            return anatomy


@dataclass(frozen=True)
class Plumage:
    """The colours of an animal; `names` are those that a caption may say (body, head, tips; "" = nothing special)."""

    body: Colour
    belly: Colour
    wing: Colour
    tip: Colour | None
    head: Colour
    accent: Colour
    names: tuple[str, str, str]


def free_plumage(rng: np.random.Generator) -> Plumage:
    """Any named colour for the body, often another one for the head, sometimes dark wing tips."""
    body, other, accent = rng.choice(list(COLOURS), 3, replace=False)
    base = jitter(COLOURS[body], rng)
    split, tips = rng.random() < 0.45, rng.random() < 0.35 and body != "black"
    wing = mix(base, (214, 170, 130), rng.uniform(0.05, 0.3))
    head = jitter(COLOURS[other], rng) if split else base
    names = (str(body), str(other) if split else "", "dark" if tips else "")
    tip = dark(base, 0.72) if tips else None
    return Plumage(base, light(base, 0.4), wing, tip, head, jitter(COLOURS[accent], rng), names)


def taxon_plumage(taxon: str, rng: np.random.Generator) -> Plumage:
    """The colour family of a taxon, varied from animal to animal."""
    return {"sinomacrops": _ochre, "dimorphodontidae": _slate, "ornithocheiromorpha": _cream}[taxon](rng)


def _ochre(rng: np.random.Generator) -> Plumage:
    base = jitter(mix((122, 78, 42), (196, 142, 66), rng.random()), rng, 8)
    wing = mix(base, (226, 176, 116), rng.uniform(0.25, 0.5))
    return Plumage(base, light(base, 0.45), wing, None, light(base, 0.08), (236, 190, 70), ("brown", "", ""))


def _slate(rng: np.random.Generator) -> Plumage:
    base = jitter(mix((74, 98, 134), (118, 146, 178), rng.random()), rng, 8)
    head = jitter(mix((178, 40, 36), (214, 84, 44), rng.random()), rng, 8)
    return Plumage(base, light(base, 0.5), dark(base, 0.1), None, head, (240, 200, 90), ("blue", "red", ""))


def _cream(rng: np.random.Generator) -> Plumage:
    base = jitter(mix((240, 234, 218), (226, 206, 172), rng.random()), rng, 6)
    tip = jitter(mix((50, 44, 50), (88, 66, 56), rng.random()), rng, 8)
    accent = jitter(mix((226, 150, 60), (204, 96, 70), rng.random()), rng, 8)
    return Plumage(base, light(base, 0.5), base, tip, base, accent, ("white", "", "dark"))


def parts(anatomy: Anatomy) -> tuple[str, ...]:
    """The parts as words, "tail:vane" and so on."""
    names = ("tail", "head", "crest", "mouth", "eyes", "wings", "coat")
    return tuple(f"{name}:{value}" for name, value in zip(names, astuple(anatomy)))
