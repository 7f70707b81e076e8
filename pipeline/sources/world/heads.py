"""Heads of flying reptiles in profile.

Unit: the length of the trunk; the neck joins at (0, 0), the snout points right.
"""

from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy, Plumage
from .canvas import Mark, blob, dark, light, mix, moved, stroke
from .shapes import Points, beyond, ellipse, fur, pts, rotate, smooth

GUMS = (196, 92, 92)
THROAT = (92, 34, 40)


@dataclass(frozen=True)
class Skull:
    """Outlines and the places where things sit: the eye, the top (for a head crest), the snout (for jaw crests)."""

    upper: Points
    lower: Points
    hinge: tuple[float, float]
    eye: tuple[float, float]
    top: tuple[float, float]
    snout: tuple[float, float, float]  # x, half height of the jaws, radius of a crest there
    beak: float  # the jaws right of this x carry the accent colour


SKULLS = {
    "round": Skull(
        pts(
            (-0.08, 0.1),
            (-0.1, -0.2),
            (0.1, -0.44),
            (0.4, -0.48),
            (0.68, -0.32),
            (0.8, -0.04),
            (0.76, 0.1),
            (0.3, 0.16),
        ),
        pts((-0.04, 0.08), (0.3, 0.1), (0.75, 0.08), (0.7, 0.24), (0.45, 0.38), (0.12, 0.36)),
        (0.1, 0.1),
        (0.38, -0.16),
        (0.1, -0.42),
        (0.66, 0.28, 0.2),
        9.0,
    ),
    "deep": Skull(
        pts(
            (-0.05, 0.0),
            (0.0, -0.26),
            (0.25, -0.48),
            (0.6, -0.52),
            (0.95, -0.34),
            (1.18, 0.0),
            (1.2, 0.12),
            (0.7, 0.1),
            (0.1, 0.12),
        ),
        pts((0.0, 0.06), (0.6, 0.08), (1.12, 0.1), (0.95, 0.24), (0.5, 0.3), (0.1, 0.24)),
        (0.15, 0.1),
        (0.3, -0.22),
        (0.08, -0.36),
        (0.98, 0.24, 0.2),
        0.62,
    ),
    "long": Skull(
        pts(
            (-0.05, 0.02),
            (0.02, -0.2),
            (0.22, -0.27),
            (0.45, -0.18),
            (0.9, -0.12),
            (1.48, -0.09),
            (1.6, 0.0),
            (0.9, 0.03),
            (0.1, 0.08),
        ),
        pts((0.02, 0.05), (0.7, 0.04), (1.56, 0.03), (1.46, 0.12), (0.8, 0.15), (0.15, 0.2)),
        (0.12, 0.06),
        (0.2, -0.09),
        (0.06, -0.17),
        (1.3, 0.1, 0.3),
        9.0,
    ),
    "pointed": Skull(
        pts(
            (-0.06, 0.05), (-0.02, -0.2), (0.18, -0.28), (0.4, -0.2), (0.7, -0.08), (1.0, 0.05), (0.5, 0.06), (0.1, 0.1)
        ),
        pts((0.0, 0.05), (0.5, 0.05), (0.95, 0.06), (0.5, 0.15), (0.12, 0.18)),
        (0.12, 0.08),
        (0.22, -0.1),
        (0.05, -0.21),
        (0.76, 0.1, 0.17),
        0.5,
    ),
}


def head(a: Anatomy, c: Plumage, rng: np.random.Generator) -> list[Mark]:
    """The whole head, to be moved to the end of the neck."""
    skull = SKULLS[a.head]
    marks = _head_crest(skull, c) if a.crest == "head" else []
    marks += _jaw_crests(skull, c) if a.crest == "jaw" else []
    marks += _jaws(skull, a, c, rng)
    return marks + _teeth(a, c) + _eyes(skull, a, c)


def _head_crest(s: Skull, c: Plumage) -> list[Mark]:
    x, y = s.top
    shape = pts(
        (x - 0.06, y + 0.16), (x + 0.24, y - 0.02), (x + 0.1, y - 0.2), (x - 0.25, y - 0.44), (x - 0.62, y - 0.56)
    )
    return [blob(smooth(np.vstack([shape, [(x - 0.3, y - 0.18)]])), c.accent, strokes=4)]


def _jaw_crests(s: Skull, c: Plumage) -> list[Mark]:
    """Two rounded keels, one on each jaw, that leave the line of the jaws free between them."""
    x, half, r = s.snout
    upper = smooth(
        pts(
            (x - r * 1.6, -half * 0.3),
            (x - r * 0.7, -half - r * 0.75),
            (x + r * 0.25, -half - r),
            (x + r * 0.95, -half - r * 0.3),
            (x + r, 0),
        )
    )
    lower = smooth(
        pts(
            (x - r * 1.7, half * 0.5),
            (x - r * 1.0, half + r * 0.75),
            (x - r * 0.1, half + r),
            (x + r * 0.6, half + r * 0.3),
            (x + r * 0.8, 0),
        )
    )
    return [blob(lower, dark(c.accent, 0.2)), blob(upper, c.accent, strokes=3)]


def _jaws(s: Skull, a: Anatomy, c: Plumage, rng: np.random.Generator) -> list[Mark]:
    gape = 0.34 if a.mouth == "wide" else 0.0
    lower = rotate(smooth(s.lower) - s.hinge, gape) + s.hinge
    upper = rotate(smooth(s.upper) - s.hinge, -gape * 0.35) + s.hinge
    marks = [blob(_rough(lower, a, rng), mix(c.head, c.belly, 0.35), 0.25)]
    marks += _beak(lower, s, c)
    if gape:
        marks.append(_mouth(upper, lower, s))
    marks.append(blob(_rough(upper, a, rng), c.head, 0.25, strokes=8))
    return marks + _beak(upper, s, c) + _lips(s, a, c)


def _rough(outline: Points, a: Anatomy, rng: np.random.Generator) -> Points:
    return fur(outline, 0.06, rng) if a.coat == "fuzzy" and a.head == "round" else outline


def _mouth(upper: Points, lower: Points, s: Skull) -> Mark:
    """The open mouth: from the hinge to both tips, dark in the throat."""
    high, low = upper[np.argmax(upper[:, 0])], lower[np.argmax(lower[:, 0])]
    inside = np.vstack([s.hinge, high * 0.97, (high + low) / 2 - (0.06, 0), low * 0.97])
    return Mark(inside, GUMS, THROAT, THROAT, 0.006)


def _beak(jaw: Points, s: Skull, c: Plumage) -> list[Mark]:
    tip = beyond(jaw, s.beak)
    if not len(tip):
        return []
    band = beyond(jaw, s.beak + (jaw[:, 0].max() - s.beak) * 0.55)
    return [blob(tip, c.accent, 0.2), blob(band, dark(c.head, 0.25), 0.2)]


def _lips(s: Skull, a: Anatomy, c: Plumage) -> list[Mark]:
    if a.mouth == "wide":
        return []
    end = s.upper[:, 0].max() - 0.04
    return [
        stroke(
            smooth(pts((s.hinge[0] + 0.1, s.hinge[1] - 0.02), (end * 0.6, s.hinge[1] + 0.01), (end, 0.07)), False),
            dark(c.head, 0.75),
        )
    ]


def _teeth(a: Anatomy, c: Plumage) -> list[Mark]:
    if a.head != "long" or a.mouth == "wide":
        return []
    return [
        Mark(pts((x, 0.02), (x + 0.05, 0.02), (x + 0.025, 0.1)), (250, 246, 232)) for x in np.arange(0.6, 1.5, 0.12)
    ]


def _eyes(s: Skull, a: Anatomy, c: Plumage) -> list[Mark]:
    x, y = s.eye
    if a.head == "round":
        size = 0.2 if a.eyes == "big" else 0.085
        return eye(x + 0.31, y - 0.05, size * 0.72) + eye(x, y, size)
    return eye(x, y, 0.145 if a.eyes == "big" else 0.065)


def eye(x: float, y: float, r: float, iris: tuple[int, int, int] = (238, 182, 66)) -> list[Mark]:
    """An eye with its glint around (x, y), of radius `r`."""
    return [
        Mark(ellipse(x, y, r, r, count=20), light(iris, 0.35), iris, (38, 28, 26), 0.008),
        Mark(ellipse(x + r * 0.18, y, r * 0.62, r * 0.66, count=16), (24, 20, 24)),
        Mark(ellipse(x - r * 0.05, y - r * 0.3, r * 0.2, r * 0.2, count=10), (255, 255, 250)),
    ]


def placed(marks: list[Mark], at: Points, turn: float, scale: float = 1.0) -> list[Mark]:
    """Marks turned by `turn` radians and moved so that their origin lies `at`."""
    c, s = np.cos(turn) * scale, np.sin(turn) * scale
    return moved(marks, np.array([[c, -s], [s, c]]), tuple(at))
