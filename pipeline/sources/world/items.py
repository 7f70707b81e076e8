"""The files of the embedded source: good pictures and clutter, with the metadata that a scraper would deliver.

No item shows whether it is good; `truth` returns that, for tests alone.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .anatomy import NAMES
from .clutter import clutter_kind, copied, draw_clutter, encoded
from .scenes import draw_species

AUTHORS = ("A. Almeida", "B. Okafor", "C. Lindqvist", "D. Moreau", "E. Tanaka", "F. Novak", "G. Haddad")
LICENCES = ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0")


@dataclass(frozen=True)
class SyntheticItem:
    """One file with what its page says about it. `source_id` is "sinomacrops/012", `url` "synthetic://sinomacrops/012"."""

    source_id: str
    filename: str
    content: bytes
    title: str
    caption: str
    author: str
    licence: str
    url: str


def items(taxon: str, seed: int, good: int = 48, clutter: int = 20) -> Iterator[SyntheticItem]:
    """`good` pictures of one of the three taxa and `clutter` other files, mixed."""
    for place, index in enumerate(_order(taxon, seed, good, clutter)):
        yield _item(taxon, seed, place, *_file(taxon, seed, int(index), good))


def truth(taxon: str, seed: int, good: int = 48, clutter: int = 20) -> dict[str, str]:
    """For every source id of `items` with the same arguments: "good", or the kind of clutter."""
    order = _order(taxon, seed, good, clutter)
    kinds = ("good" if index < good else clutter_kind(int(index) - good) for index in order)
    return {_source_id(taxon, place): kind for place, kind in enumerate(kinds)}


def duplicate_of(taxon: str, seed: int, good: int = 48, clutter: int = 20) -> dict[str, str]:
    """For every copy among `items`: the source id of the good picture that it repeats."""
    order = _order(taxon, seed, good, clutter)
    place = {int(index): p for p, index in enumerate(order)}
    copies = {p: copied(i - good, good) for i, p in place.items() if i >= good}
    return {_source_id(taxon, p): _source_id(taxon, place[c]) for p, c in copies.items() if c is not None}


def _order(taxon: str, seed: int, good: int, clutter: int) -> np.ndarray:
    """Numbers below `good` are good pictures, the rest is clutter; shuffled."""
    if taxon not in NAMES:
        raise ValueError(f"unknown taxon {taxon!r}; the embedded world has {', '.join(NAMES)}")
    if good < 1:
        raise ValueError(f"the embedded world needs at least one good picture a taxon, got {good}")
    return np.random.default_rng((seed, zlib.crc32(taxon.encode()), 3)).permutation(good + clutter)


def _file(taxon: str, seed: int, index: int, good: int) -> tuple[bytes, str, str]:
    """Content, suffix and caption of file `index` before the shuffle."""
    if index >= good:
        item = draw_clutter(taxon, seed, index - good, good)
        return item.content, item.suffix, item.caption
    drawing = draw_species(taxon, seed, index)
    rng = np.random.default_rng((seed, index, zlib.crc32(taxon.encode()), 4))
    return *encoded(drawing.image, rng), drawing.caption


def _source_id(taxon: str, place: int) -> str:
    return f"{taxon}/{place:03d}"


def _item(taxon: str, seed: int, place: int, content: bytes, suffix: str, caption: str) -> SyntheticItem:
    rng = np.random.default_rng((seed, place, zlib.crc32(taxon.encode()), 5))
    name, where = NAMES[taxon], _source_id(taxon, place)
    filename = f"{name.lower().replace(' ', '-')}-{place:03d}{suffix}"
    author, licence = str(rng.choice(AUTHORS)), str(rng.choice(LICENCES))
    return SyntheticItem(
        where, filename, content, f"{name}, plate {place}", caption, author, licence, f"synthetic://{where}"
    )
