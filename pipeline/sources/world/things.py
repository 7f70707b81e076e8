"""What is no living animal: cars, skeletons, fossils, toys, diagrams."""

import numpy as np

from .anatomy import Anatomy, Plumage
from .canvas import Canvas, Colour, Mark, blob, dark, fitted, jitter, light, mix, stroke
from .flyers import HEAD_SCALE, NECK, WING, flyer
from .heads import SKULLS, placed
from .shapes import Points, ellipse, pts, rotate, smooth, taper

BONE = (234, 224, 198)


def car(colour: Colour, open_top: bool) -> list[Mark]:
    """A car from the side, about 2.4 wide; with `open_top` there is room for a driver."""
    hull = smooth(
        pts((-1.2, 0.3), (-1.2, 0.0), (-0.75, -0.1), (0.45, -0.1), (1.0, 0.0), (1.22, 0.14), (1.22, 0.32), (0, 0.34)),
        steps=4,
    )
    marks = [blob(hull, colour, strokes=6), stroke(pts((-1.15, 0.12), (1.15, 0.16)), light(colour, 0.5), 0.008)]
    if open_top:
        marks.insert(
            0,
            Mark(
                pts((0.66, -0.06), (0.86, -0.04), (0.62, -0.42), (0.56, -0.42)),
                (206, 230, 240),
                (160, 196, 214),
                (70, 80, 96),
            ),
        )
    else:
        roof = smooth(pts((-0.78, -0.06), (-0.5, -0.44), (0.2, -0.46), (0.55, -0.06)), steps=4)
        marks = [blob(roof, dark(colour, 0.05)), *_windows(), *marks]
    lights = [
        Mark(ellipse(1.14, 0.1, 0.07, 0.06), (255, 244, 190), (240, 206, 110), (90, 70, 40)),
        Mark(ellipse(-1.16, 0.1, 0.05, 0.06), (220, 60, 50)),
    ]
    return marks + lights + [m for x in (-0.66, 0.68) for m in _wheel(x)]


def _windows() -> list[Mark]:
    panes = (
        pts((-0.62, -0.1), (-0.44, -0.36), (-0.14, -0.38), (-0.14, -0.1)),
        pts((-0.06, -0.1), (-0.06, -0.38), (0.16, -0.38), (0.4, -0.1)),
    )
    return [Mark(p, (214, 234, 242), (142, 182, 204), (60, 70, 84), 0.006) for p in panes]


def _wheel(x: float) -> list[Mark]:
    return [blob(ellipse(x, 0.34, 0.24, 0.24), (56, 54, 58)), blob(ellipse(x, 0.34, 0.11, 0.11), (190, 192, 198))]


def rock(c: Canvas, tone: Colour, rng: np.random.Generator) -> None:
    """A rock face with cracks that fills the canvas."""
    c.wash(light(tone, 0.12), dark(tone, 0.15))
    for x, y, size, turn in rng.uniform((0, 0, 0.1, 0), (1, 1, 0.3, 3), (9, 4)):
        c.soft(
            [ellipse(x, y, size, size * 0.5, turn)],
            jitter(light(tone, 0.25) if turn > 1.5 else dark(tone, 0.2), rng, 6),
            0.03,
            110,
        )
    c.brush(160, 0.05, 1.0, 80)
    for x, y in rng.random((4, 2)):
        path = np.cumsum(np.vstack([[(x, y)], rng.uniform(-0.1, 0.1, (6, 2))]), axis=0)
        c.add([stroke(path, dark(tone, 0.5), 0.006), stroke(path + 0.006, light(tone, 0.4), 0.004, 150)])


def skeleton(a: Anatomy, bone: Colour, rng: np.random.Generator) -> list[Mark]:
    """The bones of a flying reptile laid out flat, in trunk lengths."""
    spine = _beads(pts((-0.5, 0.05), (0.0, -0.05), (0.4, -0.05)), 9, 0.16, 0.14, bone)
    end = np.array((0.4 + NECK[a.head] + 0.12, -0.05 + rng.uniform(-0.3, 0.05)))
    neck = _beads(np.stack([np.array((0.42, -0.05)), end]), max(2, int(NECK[a.head] * 14)), 0.14, 0.13, bone)
    limbs = _wing_bones(a, (-0.35 + rng.uniform(-0.2, 0.2), -0.9), bone) + _wing_bones(
        a, (0.25 + rng.uniform(-0.2, 0.2), 0.85), bone
    )
    limbs += [
        m
        for side in (-1, 1)
        for m in _bones(pts((-0.45, 0.05), (-0.3, 0.4 * side), (-0.7, 0.7 * side), (-0.55, 0.85 * side)), 0.07, bone)
    ]
    tail = {"stub": 0.3}.get(a.tail, 1.7)
    tail_marks = _beads(
        pts((-0.55, 0.05), (-0.55 - tail / 2, 0.12), (-0.55 - tail, 0.02)), int(5 + tail * 7), 0.14, 0.06, bone
    )
    skull = placed(_skull(a, bone), end, rng.uniform(-0.2, 0.25), HEAD_SCALE[a.head])
    return limbs + _ribs(bone) + tail_marks + spine + neck + skull


def _beads(path: Points, count: int, first: float, last: float, bone: Colour) -> list[Mark]:
    """Vertebrae along a path."""
    line = smooth(path, closed=False)
    rows = np.linspace(0, len(line) - 1, count).astype(int)
    sizes = np.linspace(first, last, count)
    return [
        blob(ellipse(line[r][0], line[r][1], s * 0.62, s * 0.55, count=10), bone, width=0.005)
        for r, s in zip(rows, sizes)
    ]


def _ribs(bone: Colour) -> list[Mark]:
    return [
        blob(taper(pts((x, 0.0), (x - 0.02, 0.26), (x - 0.14, 0.46)), 0.07, 0.04), bone, width=0.004)
        for x in np.linspace(-0.3, 0.34, 7)
    ]


def _bones(path: Points, thick: float, bone: Colour) -> list[Mark]:
    """Long bones with knobs at the joints."""
    marks = []
    for a, b in zip(path[:-1], path[1:]):
        marks.append(
            blob(taper(np.stack([a, (a + b) / 2, b]), thick * 2.0, thick * 1.8, thick * 1.2), bone, width=0.005)
        )
    return marks + [
        blob(ellipse(p[0], p[1], thick * 0.8, thick * 0.8, count=10), bone, width=0.005) for p in path[1:-1]
    ]


def _wing_bones(a: Anatomy, span: tuple[float, float], bone: Colour) -> list[Mark]:
    length = WING[a.wings][1]
    bow = np.array((0.22, 0.0))
    root, way = np.array((0.3, -0.02)), np.array(span) * length
    path = np.stack([root, root + way * 0.2 - bow, root + way * 0.42 + bow, root + way * 0.72 + bow * 0.6, root + way])
    claws = [
        blob(taper(np.stack([path[2], path[2] + (0.2, d)]), 0.05, 0.02), bone, width=0.004) for d in (-0.1, 0.0, 0.1)
    ]
    return claws + _bones(path, 0.085, bone)


def _skull(a: Anatomy, bone: Colour) -> list[Mark]:
    s = SKULLS[a.head]
    hole = mix(dark(bone, 0.8), (40, 32, 30), 0.5)
    lower = rotate(smooth(s.lower) - s.hinge, 0.22) + s.hinge
    window = (s.eye[0] + (0.34 if a.head != "round" else 0.28), s.eye[1] + 0.03)
    holes = [Mark(ellipse(*s.eye, 0.13, 0.12), hole), Mark(ellipse(*window, 0.14, 0.06), hole)]
    end = s.upper[:, 0].max()
    teeth = [
        Mark(
            pts((x, s.hinge[1] - 0.04), (x + 0.06, s.hinge[1] - 0.04), (x + 0.03, s.hinge[1] + 0.07)),
            light(bone, 0.4),
            None,
            dark(bone, 0.5),
            0.004,
        )
        for x in np.arange(0.35 * end, 0.9 * end, 0.12)
    ]
    return [blob(lower, bone), *teeth, blob(smooth(s.upper), bone, strokes=3), *holes]


def ammonite(tone: Colour) -> list[Mark]:
    """A coiled shell."""
    t = np.linspace(0, 5.2 * np.pi, 90)
    r = 0.04 * np.exp(0.2 * t)
    coil = np.stack([r * np.cos(t), r * np.sin(t)], axis=1)
    ribs = [stroke(np.stack([coil[i] * 0.98, coil[i] * 0.72]), dark(tone, 0.55), 0.006) for i in range(30, 90, 3)]
    return [blob(ellipse(0, 0, r[-1] * 0.93, r[-1] * 0.93), tone), *ribs, stroke(coil, dark(tone, 0.65), 0.011)]


def toy(a: Anatomy, colour: Colour, accent: Colour, rng: np.random.Generator) -> list[Mark]:
    """A plastic flying reptile on a board with wheels, gaudy and with thick outlines."""
    gaudy = Plumage(colour, light(colour, 0.5), accent, None, colour, light(accent, 0.2), ("", "", ""))
    smooth_skin = Anatomy(a.tail, a.head, a.crest, a.mouth, "big", a.wings, "smooth")
    body = fitted(
        _outlined(flyer(smooth_skin, gaudy, ("up", "stand")[rng.integers(2)], rng)),
        (-0.95, -1.3, 0.95, 0.0),
        stand=True,
    )
    board = [blob(pts((-0.95, 0.06), (0.95, 0.06), (0.95, 0.24), (-0.95, 0.24)), (226, 176, 84), width=0.014)]
    pole = [blob(pts((-0.05, -0.55), (0.05, -0.55), (0.05, 0.1), (-0.05, 0.1)), (236, 236, 236), width=0.012)]
    wheels = [
        m
        for x in (-0.62, 0.62)
        for m in (
            blob(ellipse(x, 0.3, 0.21, 0.21), (206, 52, 52), width=0.014),
            blob(ellipse(x, 0.3, 0.07, 0.07), (250, 220, 90)),
        )
    ]
    cord = [stroke(smooth(pts((0.95, 0.14), (1.2, 0.3), (1.4, 0.2)), False), (120, 60, 60), 0.01)]
    return pole + body + board + wheels + cord


def _outlined(marks: list[Mark]) -> list[Mark]:
    return [Mark(m.points, m.fill and light(m.fill, 0.1), m.to, (30, 28, 40), 0.014) if m.fill else m for m in marks]


LABELS = ("head", "wing", "tail", "body", "foot", "jaw", "neck", "skin")


def diagram(c: Canvas, a: Anatomy, title: str, rng: np.random.Generator) -> None:
    """A page from a book: pale outline figure, pointers with words, a title and a scale bar."""
    page = ((250, 248, 240), (240, 246, 250), (252, 252, 252))[rng.integers(3)]
    c.wash(page, page)
    pale = Plumage((224, 226, 226), page, (238, 238, 236), None, (216, 218, 222), (204, 208, 212), ("", "", ""))
    figure = fitted(flyer(a, pale, ("up", "down", "spread", "stand")[rng.integers(4)], rng), (0.2, 0.22, 0.8, 0.74))
    flat = [Mark(m.points, m.fill, None, (50, 54, 66), 0.006) if m.fill else m for m in figure]
    c.add(flat)
    for word, (x, y), (dx, dy) in zip(rng.permutation(LABELS), _margins(), rng.uniform(0.0, 1.0, (6, 2))):
        target = (0.5 + (0.02 + 0.16 * dx) * np.sign(x - 0.5), 0.48 + (y - 0.5) * 0.5 + 0.06 * dy)
        c.add([stroke(pts((x + (0.14 if x < 0.5 else -0.01), y), target), (170, 60, 54), 0.004)])
        c.text(str(word), x, y, 0.055)
    c.text(title, 0.06, 0.08, 0.062)
    c.add([stroke(pts((0.38, 0.92), (0.62, 0.92)), (30, 30, 36), 0.012)])
    c.text(f"{rng.integers(1, 9)} m", 0.65, 0.92, 0.055)


def _margins() -> list[tuple[float, float]]:
    return [(0.03, 0.22), (0.03, 0.5), (0.03, 0.78), (0.82, 0.22), (0.82, 0.5), (0.82, 0.78)]
