"""The parametric flying reptile. Unit: the length of its trunk; it looks to the right."""

from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy, Plumage
from .canvas import Mark, blob, dark, light, stroke
from .heads import head, placed
from .shapes import Points, beyond, ellipse, fur, pts, rotate, smooth, taper

# Wings in their own frame: x outwards, y backwards, both 0..1; then the span and the chord.
WING = {
    "broad": (
        pts(
            (0, 0),
            (0.22, -0.16),
            (0.45, -0.26),
            (0.75, -0.14),
            (0.96, 0.14),
            (1.0, 0.42),
            (0.82, 0.66),
            (0.74, 0.92),
            (0.52, 0.84),
            (0.42, 1.06),
            (0.2, 0.92),
            (0, 0.98),
        ),
        1.6,
        1.1,
    ),
    "narrow": (
        pts(
            (0, 0),
            (0.14, -0.35),
            (0.3, -0.5),
            (0.55, -0.3),
            (0.8, 0.1),
            (1.0, 0.8),
            (0.82, 0.62),
            (0.58, 0.5),
            (0.34, 0.6),
            (0.14, 0.95),
            (0, 1.5),
        ),
        2.5,
        0.42,
    ),
    "short": (
        pts(
            (0, 0),
            (0.2, -0.22),
            (0.42, -0.3),
            (0.7, 0.08),
            (1.0, 0.85),
            (0.76, 0.66),
            (0.62, 0.84),
            (0.42, 0.7),
            (0.22, 0.96),
            (0, 1.1),
        ),
        1.5,
        0.74,
    ),
}
NECK = {"round": 0.1, "deep": 0.26, "long": 0.42, "pointed": 0.42}
HEAD_SCALE = {"round": 1.0, "deep": 0.98, "long": 1.12, "pointed": 0.95}
FLYING = ("up", "down", "bank", "spread")
POSES = (*FLYING, "stand", "drink")


@dataclass(frozen=True)
class Posture:
    """Directions of both wings (lengths are foreshortening), of the neck and the head, all in radians or units."""

    near: tuple[float, float]
    far: tuple[float, float]
    neck: float
    head: float


def flyer(a: Anatomy, c: Plumage, pose: str, rng: np.random.Generator) -> list[Mark]:
    """The animal in one of POSES, in trunk lengths, feet or belly down; mirror and fit it as you like."""
    if pose in ("stand", "drink"):
        return _standing(a, c, pose == "drink", rng)
    marks = _airborne(a, c, _posture(pose, rng), pose == "spread", rng)
    turn = -np.pi / 2 + rng.uniform(-1.0, 1.0) if pose == "spread" else rng.uniform(-0.45, 0.3)
    return placed(marks, np.zeros(2), turn)


def _posture(pose: str, rng: np.random.Generator) -> Posture:
    w = rng.uniform(-0.24, 0.24, 4)
    neck, head_turn = -0.25 + w[2], 0.12 + w[3]
    if pose == "up":
        return Posture((-0.5 + w[0], -0.88), (0.42 + w[1], -0.8), neck, head_turn)
    if pose == "down":
        return Posture((-0.42 + w[0], 0.9), (0.3 + w[1], 0.62), neck, head_turn)
    if pose == "bank":
        return Posture((-0.5 + w[0], 0.85), (0.35 + w[1], -0.9), neck, head_turn)
    return Posture((-0.1 + w[0], 1.0), (-0.1 + w[0], w[1] - 1.0), w[2], w[3] * 2)


def _airborne(a: Anatomy, c: Plumage, p: Posture, dorsal: bool, rng: np.random.Generator) -> list[Mark]:
    far = wing(a, c, np.array((0.34, -0.06)), p.far, 0.0 if dorsal else 0.22)
    near = wing(a, c, np.array((0.3, 0.04)), p.near, 0.0)
    behind = _tail(a, c, np.array((-0.5, 0.0)), np.pi + rng.uniform(-0.12, 0.12), rng) + _trailing_legs(c)
    front = _neck_and_head(a, c, np.array((0.38, -0.04)), p.neck, p.head, rng)
    body = trunk(a, c, rng)
    return far + near + behind + body + front if dorsal else far + behind + body + front + near


def wing(a: Anatomy, c: Plumage, root: Points, span: tuple[float, float], shade: float) -> list[Mark]:
    """An open wing from `root` along `span`; `shade` darkens the one that is farther away."""
    outline, length, chord = WING[a.wings]
    frame = np.array([np.array(span) * length, np.array((-1.0, 0.08)) * chord])
    shape, bone = smooth(outline), smooth(outline[: 6 if a.wings != "short" else 5], closed=False)
    colour = dark(c.wing, shade)
    marks = [blob(shape @ frame + root, colour, 0.3, strokes=14, width=0.008)]
    if c.tip is not None:
        marks.append(blob(beyond(shape, 0.62) @ frame + root, dark(c.tip, shade), 0.2))
    marks += [stroke(f @ frame + root, dark(colour, 0.45), 0.005, 120) for f in _fibres(outline)]
    return marks + [blob(taper(bone[::3] @ frame + root, 0.17, 0.05), dark(c.body, shade + 0.1), 0.25)]


def _fibres(outline: Points) -> list[Points]:
    """The stiffening fibres of the membrane: from the front edge towards the back edge."""
    front = smooth(outline[:5], closed=False)
    back = smooth(outline[5:], closed=False)[::-1]
    at = np.linspace(0.35, 0.9, 5)
    pairs = zip(front[(at * (len(front) - 1)).astype(int)], back[(at * (len(back) - 1)).astype(int)])
    return [np.stack([f, f + (b - f) * 0.92]) for f, b in pairs]


def trunk(a: Anatomy, c: Plumage, rng: np.random.Generator) -> list[Mark]:
    """The body along x from -0.55 to 0.5, with a light belly and, if fuzzy, tufts and hairs."""
    plump = 1.3 if a.coat == "fuzzy" else 1.12
    outline = smooth(
        pts(
            (-0.58, 0.0),
            (-0.35, -0.15),
            (0.0, -0.23),
            (0.35, -0.2),
            (0.54, -0.02),
            (0.36, 0.2),
            (0.0, 0.24),
            (-0.35, 0.14),
        )
        * (1, plump)
    )
    outline = fur(outline, 0.13, rng) if a.coat == "fuzzy" else outline
    belly = smooth(pts((-0.4, 0.06), (0.0, 0.08), (0.4, 0.06), (0.3, 0.16), (0.0, 0.2), (-0.3, 0.12)) * (1, plump))
    marks = [blob(outline, c.body, strokes=16), Mark(belly, c.belly, c.body, alpha=170)]
    return marks + (_hairs(c, plump, rng) if a.coat == "fuzzy" else [])


def _hairs(c: Plumage, plump: float, rng: np.random.Generator) -> list[Mark]:
    places = rng.uniform((-0.5, -0.2), (0.45, 0.2), (34, 2)) * (1, plump)
    tones = (light(c.body, 0.4), dark(c.body, 0.45))
    return [stroke(np.stack([p, p + (-0.13, 0.05)]), tones[i % 2], 0.006, 200) for i, p in enumerate(places)]


def _neck_and_head(
    a: Anatomy, c: Plumage, at: Points, neck: float, turn: float, rng: np.random.Generator
) -> list[Mark]:
    end = at + rotate(pts((NECK[a.head], 0)), neck)[0]
    path = np.stack([at - (0.1, 0), (at + end) / 2, end + (0.06, 0)])
    thick = 0.34 if a.head in ("round", "deep") else 0.24
    outline = taper(path, 0.36, thick)
    outline = fur(outline, 0.1, rng) if a.coat == "fuzzy" else outline
    return [blob(outline, c.body, strokes=4)] + placed(head(a, c, rng), end, turn, HEAD_SCALE[a.head])


def _tail(a: Anatomy, c: Plumage, at: Points, turn: float, rng: np.random.Generator) -> list[Mark]:
    """The tail in its own frame (x away from the body), turned by `turn` radians."""
    if a.tail == "stub":
        shape = blob(smooth(pts((-0.1, -0.13), (0.2, -0.05), (0.26, 0.0), (0.2, 0.05), (-0.1, 0.13))), c.body)
        return placed([shape], at, turn)
    bend = rng.uniform(-0.16, 0.16)
    rod = taper(pts((-0.1, 0), (0.5, bend * 0.4), (1.1, bend), (1.55, bend * 1.2)), 0.24, 0.08)
    marks = [blob(rod, c.body, strokes=4)]
    if a.tail == "vane":
        vane = pts((1.2, 0), (1.6, -0.32), (2.0, 0), (1.6, 0.32)) + (0, bend * 1.1)
        marks.append(blob(vane, c.accent if c.head == c.body else c.head, strokes=3))
    return placed(marks, at, turn)


def _trailing_legs(c: Plumage) -> list[Mark]:
    paths = (pts((-0.42, -0.06), (-0.72, -0.16), (-0.92, -0.1)), pts((-0.4, 0.08), (-0.7, 0.2), (-0.9, 0.16)))
    return [blob(taper(p, 0.12, 0.05), dark(c.body, 0.15)) for p in paths]


def _standing(a: Anatomy, c: Plumage, drink: bool, rng: np.random.Generator) -> list[Mark]:
    tilt = 0.22 if drink else -0.45 + rng.uniform(-0.3, 0.26)
    body = placed(trunk(a, c, rng), np.zeros(2), tilt)
    shoulder, hip = rotate(pts((0.38, -0.05)), tilt)[0], rotate(pts((-0.4, 0.05)), tilt)[0]
    neck, turn = (0.75, 0.62) if drink else (-0.6 + rng.uniform(-0.35, 0.3), rng.uniform(-0.3, 0.35))
    tail = _tail(a, c, hip - rotate(pts((0.1, 0)), tilt)[0], np.pi + (tilt * 0.4 if drink else -0.18), rng)
    far = _folded(a, c, shoulder + (0.14, 0.02), hip, 0.3)
    near = _folded(a, c, shoulder, hip, 0.0)
    front = _neck_and_head(a, c, shoulder, neck, turn, rng)
    return far + _leg(c, hip + (0.1, 0), 0.25) + tail + body + front + _leg(c, hip, 0.0) + near


GROUND = 0.78


def _leg(c: Plumage, hip: Points, shade: float) -> list[Mark]:
    path = np.vstack([hip, hip + (0.14, 0.28), (hip[0] - 0.02, GROUND - 0.05)])
    foot = pts((hip[0] - 0.06, GROUND), (hip[0], GROUND - 0.09), (hip[0] + 0.24, GROUND))
    colour = dark(c.body, 0.12 + shade)
    return [blob(taper(path, 0.2, 0.08), colour), blob(foot, colour)]


def _folded(a: Anatomy, c: Plumage, shoulder: Points, hip: Points, shade: float) -> list[Mark]:
    """A folded wing: the arm down to the knuckles on the ground, the long finger folded back along the body."""
    reach, depth = {"broad": (1.35, 0.62), "narrow": (2.15, 0.3), "short": (1.15, 0.36)}[a.wings]
    wrist, hand = shoulder + (0.2, 0.42), np.array((shoulder[0] + 0.16, GROUND))
    tip = wrist + np.array((-0.93, -0.34)) * reach
    low = wrist + np.array((-0.5, 0.0)) * reach * 0.8 + (0, depth * 0.55)
    rim = (tip + low) / 2 + ((-0.12, 0.12) if a.wings == "broad" else (0, -0.02))
    mid = (wrist + tip) / 2 + (0, -0.1 - 0.18 * (a.wings == "broad"))
    notch = (low + rim) / 2 + ((0.14, -0.08) if a.wings == "broad" else (0, 0))
    sheet = smooth(np.vstack([wrist, mid, tip, rim, notch, low, wrist + (-0.2, 0.1)]))
    colour = dark(c.wing, shade)
    marks = [blob(sheet, colour, 0.3, strokes=10, width=0.008)]
    if c.tip is not None:
        marks.append(blob(_back(sheet, wrist[0] - 0.55 * reach), dark(c.tip, shade), 0.2))
    marks.append(stroke(smooth(np.vstack([wrist, mid, tip]), False), dark(colour, 0.5), 0.01))
    arm = taper(np.vstack([shoulder, (shoulder + wrist) / 2 + (-0.06, 0.02), wrist, hand]), 0.2, 0.08)
    x, y = hand - (-0.03, 0.04)
    return marks + [blob(arm, dark(c.body, shade + 0.06)), blob(ellipse(x, y, 0.1, 0.05), dark(c.body, 0.4))]


def _back(sheet: Points, x: float) -> Points:
    """The part of the folded wing left of `x`."""
    return beyond(sheet * (-1, 1), -x) * (-1, 1)
