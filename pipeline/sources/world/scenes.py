"""Whole pictures: who does what, where, and with which medium it is drawn."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from . import captions
from .anatomy import COLOURS, NAMES, TAXA, Anatomy, free, free_plumage, parts, taxon_plumage
from .animals import ANIMALS
from .backgrounds import PLACES, paint, water
from .canvas import Canvas, Colour, Mark, bounds, dark, fitted, jitter, light, moved
from .flyers import FLYING, flyer
from .medium import painted, pencilled
from .shapes import ellipse, pts, smooth
from .things import BONE, ammonite, car, diagram, rock, skeleton, toy

SHARES = {
    "flyer": 0.5,
    "bird": 0.06,
    "bat": 0.06,
    "fish": 0.05,
    "lizard": 0.06,
    "frog": 0.03,
    "landscape": 0.03,
    "car": 0.04,
    "skeleton": 0.05,
    "fossil": 0.05,
    "toy": 0.035,
    "diagram": 0.035,
}
KINDS: tuple[str, ...] = tuple(SHARES)


@dataclass(frozen=True)
class Drawing:
    """A picture with what is known about it. `parts` are words such as "tail:vane"; `medium` is painting or pencil.

    `looks_left`: what is drawn is turned to the left; False for a place and for a page, which have no front.
    """

    image: Image.Image
    caption: str
    kind: str
    parts: tuple[str, ...]
    background: str
    medium: str
    looks_left: bool


class Easel:
    """One drawing under way: the canvas, the chance for the layout, the medium."""

    def __init__(self, key: tuple[int, ...], size_px: int, pencil: float, left: float = 0.5):
        self.rng = np.random.default_rng((*key, 0))
        self.size = size_px
        self.medium = "pencil" if self.rng.random() < pencil else "painting"
        # Brush strokes have a generator of their own: the layout must not depend on how many of them fall in the frame.
        self.brush = np.random.default_rng((*key, 1))
        self.canvas = Canvas(size_px * (4 if size_px <= 96 else 3), self.brush)
        self.flip = self.rng.random() < left
        self.looks_left = False

    def behind(self, painter: Callable[[Canvas], None], fade: float = 0.45) -> None:
        """Let `painter` paint the background: at half resolution for softness, paler by `fade` for a pencil drawing."""
        back = Canvas(self.canvas.side // 2, self.brush)
        painter(back)
        image = back.image.resize(self.canvas.image.size, Image.Resampling.BICUBIC)
        if self.medium == "pencil":
            image = Image.blend(image, Image.new("RGB", image.size, (244, 244, 244)), fade)
        self.canvas.image.paste(image)

    def place(self, place: str, ground: bool = False) -> None:
        """Paint one of PLACES behind."""
        self.behind(lambda c: paint(c, place, ground, self.rng))

    def put(self, marks: list[Mark], box: tuple[float, float, float, float], stand: bool = False) -> None:
        """Draw marks fitted into `box`, mirrored if this drawing is."""
        self.looks_left = bool(self.flip)
        marks = fitted(moved(marks, np.diag((-1.0 if self.flip else 1.0, 1.0))), box, stand)
        if stand:
            low, high = bounds(marks)
            self.canvas.soft(
                [ellipse((low[0] + high[0]) / 2, high[1], (high[0] - low[0]) * 0.4, 0.022)], (40, 36, 44), 0.015, 110
            )
        self.canvas.add(marks)

    def box(self, small: float = 0.7, large: float = 0.9) -> tuple[float, float, float, float]:
        """A box in the air, `small` to `large` of the frame wide, not always in the middle."""
        w = self.rng.uniform(small, large)
        left, top = self.rng.uniform(0.02, 0.98 - w), self.rng.uniform(0.02, 0.98 - w)
        return left, top, left + w, top + w

    def floor(self, small: float = 0.66, large: float = 0.86) -> tuple[float, float, float, float]:
        """A box whose bottom is the ground."""
        left, _, right, _ = self.box(small, large)
        return left, 0.12, right, self.rng.uniform(0.86, 0.93)

    def finish(self, caption: str, kind: str, names: tuple[str, ...], background: str) -> Drawing:
        """Reduce to the asked size in the medium."""
        reduce = pencilled if self.medium == "pencil" else painted
        image = reduce(self.canvas.image, self.size, self.brush)
        return Drawing(image, caption, kind, names, background, self.medium, self.looks_left)


def draw_wide(seed: int, index: int, size_px: int = 256) -> Drawing:
    """Picture `index` of the wider world, `size_px` square. Never one of the three taxa."""
    e = Easel((seed, index, 11), size_px, 0.3)
    kind = str(e.rng.choice(KINDS, p=np.array(list(SHARES.values()))))
    if kind == "flyer":
        return _wide_flyer(e)
    return _wide_animal(e, kind) if kind in ANIMALS else _THINGS[kind](e)


def draw_species(taxon: str, seed: int, index: int, size_px: int = 256) -> Drawing:
    """Picture `index` of one of TAXA, alive, `size_px` square."""
    # Most look to the right, as on a plate: a small model draws both headings at once when it sees both as often.
    e = Easel((seed, index, zlib.crc32(taxon.encode())), size_px, 0.2, left=0.15)
    anatomy, plumage = TAXA[taxon], taxon_plumage(taxon, e.rng)
    action = "flying" if e.rng.random() < 0.75 else "standing"
    place = _somewhere(action, e.rng)
    _stage(e, action, place, lambda pose: flyer(anatomy, plumage, pose, e.rng), 0.7, 0.94)
    caption = captions.sentence(NAMES[taxon], captions.doing(action, place), e.medium, e.rng, article="")
    return e.finish(caption, taxon, parts(anatomy), place)


def draw_animal(kind: str, key: tuple[int, ...], size_px: int = 256) -> Drawing:
    """A living animal of one of ANIMALS, `size_px` square; `key` decides everything else."""
    return _wide_animal(Easel(key, size_px, 0.2), kind)


def _wide_flyer(e: Easel) -> Drawing:
    anatomy, plumage = free(e.rng), free_plumage(e.rng)
    action = str(e.rng.choice(("flying", "standing", "drinking", "driving"), p=(0.68, 0.18, 0.08, 0.06)))
    place = _somewhere(action, e.rng)
    _stage(e, action, place, lambda pose: flyer(anatomy, plumage, pose, e.rng), 0.74, 0.92)
    noun = captions.flyer_noun(anatomy, plumage, e.medium, e.rng)
    caption = captions.sentence(noun, captions.doing(action, place), e.medium, e.rng)
    return e.finish(caption, "flyer", parts(anatomy), place)


ACTIONS = {
    "bird": (("flying", "standing", "drinking", "driving"), (0.5, 0.28, 0.14, 0.08)),
    "bat": (("flying",), (1.0,)),
    "fish": (("swimming",), (1.0,)),
    "lizard": (("standing", "drinking", "driving"), (0.68, 0.2, 0.12)),
    "frog": (("standing", "drinking", "driving"), (0.68, 0.2, 0.12)),
}


def _wide_animal(e: Easel, kind: str) -> Drawing:
    names, colour, accent = _two_colours(e.rng)
    action = str(e.rng.choice(ACTIONS[kind][0], p=ACTIONS[kind][1]))
    place = _somewhere(action, e.rng)
    _stage(
        e,
        action,
        place,
        lambda pose: _living(kind, colour, accent, pose, e.rng),
        *((0.76, 0.94) if kind == "lizard" else (0.64, 0.86)),
    )
    noun = kind if e.medium == "pencil" else f"{names[0]} {kind}"
    caption = captions.sentence(noun, captions.doing(action, place), e.medium, e.rng)
    return e.finish(caption, kind, (), place)


def _living(kind: str, colour: Colour, accent: Colour, pose: str, rng: np.random.Generator) -> list[Mark]:
    marks = ANIMALS[kind](colour, accent, pose in FLYING, rng)
    turn = {"stand": 0.0, "drink": 0.16}.get(pose, rng.uniform(-0.25, 0.25))
    c, s = np.cos(turn), np.sin(turn)
    return moved(marks, np.array([[c, -s], [s, c]]))


def _two_colours(rng: np.random.Generator) -> tuple[tuple[str, str], Colour, Colour]:
    one, two = (str(n) for n in rng.choice(list(COLOURS), 2, replace=False))
    return (one, two), jitter(COLOURS[one], rng), jitter(COLOURS[two], rng)


def _somewhere(action: str, rng: np.random.Generator) -> str:
    if action == "drinking":
        return "river"
    where = {
        "flying": PLACES,
        "standing": PLACES[1:],
        "swimming": ("sea", "river"),
        "driving": ("city", "city", "desert", "forest"),
    }
    return str(rng.choice(where[action]))


def _stage(e: Easel, action: str, place: str, build: Callable[[str], list[Mark]], small: float, large: float) -> None:
    """Paint the place and put the animal that `build` makes for a pose into it."""
    if action == "flying":
        e.place(place)
        e.put(build(str(e.rng.choice(FLYING))), e.box(small, large))
    elif action == "standing":
        e.place(place, ground=True)
        e.put(build("stand"), e.floor(small - 0.06, large - 0.04), stand=True)
    elif action == "swimming":
        e.behind(lambda c: _swim(c, place, e.rng))
        e.put(build("up"), e.box(small, large))
    else:
        (_drink if action == "drinking" else _drive)(e, place, build)


def _swim(c: Canvas, place: str, rng: np.random.Generator) -> None:
    """Water nearly up to the top; a river has a green bank there."""
    paint(c, place, False, rng)
    if place == "river":
        c.wash((120, 158, 92), (96, 132, 78), 0.0, 0.16)
    water(c, rng.uniform(0.12, 0.18), (190, 220, 226), rng)


def _drink(e: Easel, place: str, build: Callable[[str], list[Mark]]) -> None:
    """The animal on a bank, its snout at the water in front of it."""
    e.place(place, ground=True)
    side = np.array((-1.0, 1.0)) if e.flip else np.array((1.0, 1.0))
    home = np.array((1.0, 0.0)) if e.flip else np.array((0.0, 0.0))
    grass, blue = jitter((126, 154, 84), e.rng), jitter((86, 148, 196), e.rng)
    pool = smooth(pts((-0.1, 0.93), (0.45, 0.87), (0.75, 0.78), (1.1, 0.74), (1.1, 1.1), (-0.1, 1.1)))
    bank = smooth(pts((-0.1, 0.76), (0.3, 0.74), (0.62, 0.77), (0.7, 0.84), (0.5, 0.9), (0.2, 0.94), (-0.1, 0.97)))
    e.canvas.add(
        [
            Mark(pool * side + home, light(blue, 0.25), blue, strokes=14),
            Mark(bank * side + home, light(grass, 0.1), dark(grass, 0.2), dark(grass, 0.45), strokes=12),
        ]
    )
    left = 0.04 if not e.flip else 0.1
    e.put(build("drink"), (left, 0.14, left + 0.86, 0.87), stand=True)
    centres = [(np.array((x, 0.9)) * side + home, r) for x, r in ((0.84, 0.05), (0.84, 0.1), (0.55, 0.06))]
    rings = [ellipse(at[0], at[1], r, r * 0.22) for at, r in centres]
    e.canvas.add([Mark(p, None, None, light(blue, 0.7), 0.006, 190) for p in rings])


def _drive(e: Easel, place: str, build: Callable[[str], list[Mark]]) -> None:
    """The animal in an open car: it is drawn first, the car's side hides its feet."""
    e.place(place, ground=True)
    e.canvas.add(
        [Mark(pts((-0.1, 0.8), (1.1, 0.8), (1.1, 0.97), (-0.1, 0.97)), (138, 136, 140), (108, 106, 112), strokes=8)]
    )
    _, colour, _ = _two_colours(e.rng)
    e.put(build("stand"), (0.1, 0.1, 0.82, 0.72) if not e.flip else (0.18, 0.1, 0.9, 0.72), stand=True)
    e.put(car(colour, open_top=True), (0.06, 0.4, 0.94, 0.93))


def _car(e: Easel) -> Drawing:
    place = str(e.rng.choice(("city", "city", "city", "desert", "forest", "sea")))
    e.place(place, ground=True)
    names, colour, _ = _two_colours(e.rng)
    e.put(car(colour, e.rng.random() < 0.3), e.floor(0.7, 0.9), stand=True)
    noun = "car" if e.medium == "pencil" else f"{names[0]} car"
    where = "by the sea" if place == "sea" else f"in the {place}"
    return e.finish(captions.sentence(noun, where, e.medium, e.rng), "car", (), place)


def _landscape(e: Easel) -> Drawing:
    place = str(e.rng.choice(PLACES))
    e.place(place, ground=bool(e.rng.random() < 0.5))
    return e.finish(captions.sentence(place, "", e.medium, e.rng, article="the"), "landscape", (), place)


def paint_skeleton(e: Easel, a: Anatomy) -> None:
    """Pale bones on dark rock."""
    tone = jitter(((92, 88, 92), (84, 92, 100), (104, 88, 78))[e.rng.integers(3)], e.rng)
    e.behind(lambda c: rock(c, tone, e.rng), fade=0.0)
    e.put(skeleton(a, jitter(BONE, e.rng, 8), e.rng), e.box(0.78, 0.94))


def paint_fossil(e: Easel, a: Anatomy) -> None:
    """Brown bones pressed into a pale slab, with a shell beside them."""
    tone = jitter(((214, 190, 142), (200, 184, 156), (206, 170, 122))[e.rng.integers(3)], e.rng)
    e.behind(lambda c: rock(c, tone, e.rng))
    brown = jitter((112, 72, 44), e.rng)
    e.put(ammonite(brown), _corner(e.rng))
    e.put(skeleton(a, brown, e.rng), e.box(0.7, 0.86))


def _corner(rng: np.random.Generator) -> tuple[float, float, float, float]:
    size, (x, y) = rng.uniform(0.18, 0.3), rng.integers(0, 2, 2)
    left, top = 0.03 + x * (0.94 - size), 0.03 + y * (0.94 - size)
    return left, top, left + size, top + size


def paint_toy(e: Easel, a: Anatomy) -> None:
    """A toy on a plain table."""
    _, colour, accent = _two_colours(e.rng)
    wall = light(jitter(COLOURS[str(e.rng.choice(list(COLOURS)))], e.rng), 0.6)
    e.canvas.wash(wall, light(wall, 0.3), 0.0, 0.7)
    e.canvas.wash(dark(wall, 0.12), dark(wall, 0.02), 0.7, 1.0)
    e.put(toy(a, colour, accent, e.rng), e.floor(0.74, 0.9), stand=True)


def paint_diagram(e: Easel, a: Anatomy, title: str) -> None:
    """A page with a figure and words."""
    diagram(e.canvas, a, title, e.rng)


def _relic(
    kind: str, paint_it: Callable[[Easel, Anatomy], None], words: str, background: str
) -> Callable[[Easel], Drawing]:
    def build(e: Easel) -> Drawing:
        paint_it(e, free(e.rng))
        return e.finish(captions.sentence(kind, words, e.medium, e.rng), kind, (), background)

    return build


_THINGS: dict[str, Callable[[Easel], Drawing]] = {
    "car": _car,
    "landscape": _landscape,
    "skeleton": _relic("skeleton", paint_skeleton, "of a flying reptile on rock", "rock"),
    "fossil": _relic("fossil", paint_fossil, "of a flying reptile on rock", "rock"),
    "toy": _relic("toy", paint_toy, "flying reptile on a table", "table"),
    "diagram": _relic(
        "diagram", lambda e, a: paint_diagram(e, a, "Fig. flying reptile"), "of a flying reptile with text", "page"
    ),
}
