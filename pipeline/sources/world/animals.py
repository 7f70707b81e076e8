"""Animals that still live: birds, bats, fish, lizards, frogs. They look to the right, feet down; any unit."""

import numpy as np

from .canvas import Colour, Mark, blob, dark, light, mix, stroke
from .heads import eye
from .shapes import Points, ellipse, pts, rotate, smooth, taper

BEAK = (236, 168, 62)


def bird(colour: Colour, accent: Colour, flying: bool, rng: np.random.Generator) -> list[Mark]:
    """A songbird: small beak, feathered wings, fan tail."""
    return _bird_flying(colour, accent, rng) if flying else _bird_standing(colour, accent, rng)


def _bird_flying(colour: Colour, accent: Colour, rng: np.random.Generator) -> list[Mark]:
    lift = -1 if rng.random() < 0.6 else 1
    far = _feathers(pts((0.2, -0.05)), (0.25, 0.8 * lift), dark(colour, 0.25))
    near = _feathers(pts((0.15, 0.02)), (-0.35, 0.95 * lift), dark(colour, 0.06))
    tail = [blob(p, dark(colour, 0.15)) for p in _fan(-0.5, 0.0)]
    body = [
        blob(
            smooth(
                pts((-0.6, 0.02), (-0.2, -0.22), (0.3, -0.26), (0.55, -0.1), (0.4, 0.18), (0.0, 0.28), (-0.35, 0.16))
            ),
            colour,
            strokes=10,
        )
    ]
    return far + tail + body + _breast(accent) + _bird_head(0.58, -0.16, colour) + near


def _feathers(root: Points, direction: tuple[float, float], colour: Colour) -> list[Mark]:
    """A wing of separate flight feathers: the outline that no membrane has."""
    span, back = np.array(direction), np.array((-1.0, 0.1))
    marks = []
    for i, t in enumerate(np.linspace(1.0, 0.18, 8)):
        at = root[0] + span * t * 0.95
        end = at + back * (0.62 - 0.1 * t) + span * (0.42 * t - 0.05)
        marks.append(
            blob(taper(np.stack([at, (at + end) / 2, end]), 0.2, 0.06, 0.22), mix(colour, light(colour, 0.35), i % 2))
        )
    front = np.stack([root[0], root[0] + span * 0.5 + (0.1, 0), root[0] + span])
    return marks + [blob(taper(front, 0.34, 0.16), dark(colour, 0.1), strokes=4)]


def _fan(x: float, y: float) -> list[Points]:
    ends = [(x - 0.62, y + dy) for dy in (-0.2, -0.07, 0.07, 0.2)]
    return [taper(pts((x + 0.1, y), (x - 0.3, (y + e[1]) / 2), e), 0.1, 0.14) for e in ends]


def _breast(accent: Colour) -> list[Mark]:
    return [
        Mark(
            smooth(pts((0.5, 0.0), (0.36, 0.16), (0.0, 0.25), (-0.2, 0.16), (0.15, 0.05))), light(accent, 0.15), accent
        )
    ]


def _bird_head(x: float, y: float, colour: Colour) -> list[Mark]:
    beak = pts((x + 0.16, y - 0.09), (x + 0.48, y + 0.03), (x + 0.16, y + 0.11))
    line = stroke(pts((x + 0.17, y + 0.02), (x + 0.44, y + 0.03)), dark(BEAK, 0.6), 0.005)
    return [blob(beak, BEAK), line, blob(ellipse(x, y, 0.24, 0.22), colour, strokes=4), *eye(x + 0.07, y - 0.05, 0.055)]


def _bird_standing(colour: Colour, accent: Colour, rng: np.random.Generator) -> list[Mark]:
    body = rotate(
        smooth(pts((-0.6, 0.05), (-0.2, -0.26), (0.3, -0.3), (0.55, -0.12), (0.4, 0.22), (0.0, 0.32), (-0.35, 0.2))),
        -0.5,
    )
    tail = [blob(rotate(p, -0.35), dark(colour, 0.2)) for p in _fan(-0.5, 0.05)[1:3]]
    folded = rotate(smooth(pts((0.25, -0.14), (0.2, 0.1), (-0.2, 0.16), (-0.85, 0.08), (-0.3, -0.12))), -0.5)
    lines = [
        stroke(rotate(pts((0.0 - d, 0.1), (-0.55 - d / 3, 0.08)), -0.5), dark(colour, 0.6), 0.006)
        for d in (0.0, 0.12, 0.24)
    ]
    breast = Mark(
        rotate(smooth(pts((0.5, -0.02), (0.38, 0.2), (0.05, 0.29), (0.2, 0.08))), -0.5), light(accent, 0.15), accent
    )
    legs = [taper(pts((x, 0.25), (x - 0.03, 0.5), (x, 0.72)), 0.06, 0.05) for x in (0.02, 0.16)]
    feet = [taper(pts((x - 0.08, 0.72), (x, 0.7), (x + 0.14, 0.72)), 0.05, 0.04) for x in (0.02, 0.16)]
    marks = [blob(p, dark(BEAK, 0.15)) for p in legs + feet] + tail
    return (
        marks
        + [blob(body, colour, strokes=10), breast, blob(folded, dark(colour, 0.15), strokes=6), *lines]
        + _bird_head(0.42, -0.5, colour)
    )


def bat(colour: Colour, accent: Colour, flying: bool, rng: np.random.Generator) -> list[Mark]:
    """A bat from the front: scalloped skin between long fingers, large ears, a small round body."""
    lift = rng.uniform(-0.25, 0.3)
    marks = [m for side in (-1, 1) for m in _bat_wing(side, lift, mix(colour, (70, 52, 60), 0.35))]
    ears = [blob(pts((s * 0.03, -0.3), (s * 0.24, -0.66), (s * 0.25, -0.24)), colour) for s in (-1, 1)]
    inner = [Mark(pts((s * 0.09, -0.34), (s * 0.21, -0.56), (s * 0.2, -0.3)), (214, 150, 140)) for s in (-1, 1)]
    body = [
        blob(ellipse(0, 0.15, 0.23, 0.38), colour, strokes=8),
        *ears,
        *inner,
        blob(ellipse(0, -0.24, 0.25, 0.21), light(colour, 0.08), strokes=4),
    ]
    face = [*eye(-0.1, -0.28, 0.05), *eye(0.1, -0.28, 0.05), Mark(ellipse(0, -0.17, 0.06, 0.045), (60, 40, 44))]
    legs = [blob(taper(pts((x, 0.48), (x * 1.3, 0.66)), 0.06, 0.04), dark(colour, 0.3)) for x in (-0.1, 0.1)]
    return marks + legs + body + face


def _bat_wing(side: int, lift: float, colour: Colour) -> list[Mark]:
    flip = np.array((side, 1.0))
    wrist = np.array((0.62, -0.42 - lift * 0.5))
    tips = pts((1.75, 0.1 - lift), (1.28, 0.5 - lift * 0.6), (0.78, 0.62 - lift * 0.2), (0.18, 0.5))
    scallop = [tips[0]]
    for a, b in zip(tips[:-1], tips[1:]):
        scallop += [(a + b) / 2 + (wrist - (a + b) / 2) * 0.28, b]
    skin = np.vstack([(0.1, -0.1), wrist, (1.3, -0.28 - lift), *scallop])
    bones = [stroke(np.stack([wrist, t]) * flip, dark(colour, 0.55), 0.008) for t in tips[:3]]
    arm = blob(taper(np.vstack([(0.1, -0.05), (0.38, -0.16 - lift / 3), wrist]) * flip, 0.1, 0.06), dark(colour, 0.25))
    return [blob(skin * flip, colour, strokes=8), *bones, arm]


def fish(colour: Colour, accent: Colour, flying: bool, rng: np.random.Generator) -> list[Mark]:
    """A fish from the side: deep body, forked tail, fins, sometimes stripes."""
    deep = rng.uniform(0.85, 1.2)
    tail = smooth(pts((-0.75, 0.0), (-1.3, -0.42), (-1.12, 0.0), (-1.3, 0.42)))
    fins = [pts((0.3, -0.36), (-0.05, -0.72), (-0.5, -0.3)), pts((0.1, 0.36), (-0.2, 0.66), (-0.4, 0.26))]
    body = smooth(
        pts(
            (1.0, 0.02),
            (0.7, -0.28),
            (0.2, -0.44),
            (-0.4, -0.26),
            (-0.85, -0.08),
            (-0.85, 0.08),
            (-0.4, 0.26),
            (0.2, 0.44),
            (0.7, 0.26),
        )
    )
    marks = [blob(p * (1, deep), accent, strokes=3) for p in [tail, *fins]] + [
        blob(body * (1, deep), colour, 0.2, strokes=10)
    ]
    if rng.random() < 0.5:
        marks += [
            blob(
                smooth(pts((x, -h), (x + 0.07, 0), (x, h), (x - 0.12, h), (x - 0.06, 0), (x - 0.12, -h)) * (1, deep)),
                accent,
            )
            for x, h in ((0.3, 0.36), (-0.15, 0.28))
        ]
    gill = stroke(smooth(pts((0.52, -0.24), (0.42, 0.0), (0.52, 0.24)) * (1, deep), False), dark(colour, 0.5))
    scales = [
        stroke(smooth(pts((x, y - 0.06), (x - 0.06, y), (x, y + 0.06)), False), dark(colour, 0.3), 0.005, 150)
        for x in np.arange(-0.5, 0.3, 0.2)
        for y in (-0.12, 0.05, 0.2)
    ]
    mouth = stroke(pts((0.97, 0.1), (0.82, 0.12)), dark(colour, 0.7))
    side_fin = blob(smooth(pts((0.3, 0.08), (0.0, 0.02), (-0.08, 0.2), (0.1, 0.26))), accent)
    return marks + [gill, *scales, mouth, side_fin, *eye(0.7, -0.09, 0.09)]


def lizard(colour: Colour, accent: Colour, flying: bool, rng: np.random.Generator) -> list[Mark]:
    """A lizard: long low body on sprawled legs, a long curling tail."""
    curl = rng.uniform(0.15, 0.4)
    tail = taper(pts((-0.55, 0.0), (-1.0, 0.08), (-1.45, -0.05), (-1.75, -curl), (-1.6, -curl - 0.22)), 0.34, 0.03)
    body = smooth(
        pts((-0.75, 0.0), (-0.3, -0.22), (0.3, -0.22), (0.62, -0.14), (0.62, 0.06), (0.3, 0.18), (-0.3, 0.18))
    )
    skull = smooth(
        pts((0.52, -0.12), (0.75, -0.3), (0.98, -0.24), (1.25, -0.08), (1.22, 0.02), (0.9, 0.08), (0.6, 0.06))
    )
    far, near = dark(colour, 0.35), dark(colour, 0.08)
    marks = _sprawl(0.52, far) + _sprawl(-0.32, far) + [blob(tail, colour, strokes=6), blob(body, colour, strokes=10)]
    spots = rng.uniform((-0.55, -0.14), (0.45, 0.02), (9, 2))
    marks += [Mark(ellipse(x, y, 0.06, 0.045), light(accent, 0.1), accent) for x, y in spots]
    mouth = stroke(pts((1.22, 0.0), (0.86, 0.0)), dark(colour, 0.65))
    return marks + [
        blob(skull, colour, strokes=4),
        mouth,
        *eye(0.9, -0.14, 0.065),
        *_sprawl(0.36, near),
        *_sprawl(-0.48, near),
    ]


def _sprawl(x: float, colour: Colour) -> list[Mark]:
    leg = taper(pts((x, 0.05), (x - 0.22, 0.2), (x + 0.02, 0.4)), 0.16, 0.08)
    toes = [taper(pts((x, 0.4), (x + dx, 0.46)), 0.05, 0.03) for dx in (0.06, 0.14, 0.2)]
    return [blob(p, colour) for p in [*toes, leg]]


def frog(colour: Colour, accent: Colour, flying: bool, rng: np.random.Generator) -> list[Mark]:
    """A sitting frog: squat body, folded hind legs, eyes on top of the head, a wide mouth, no wings and no fur."""
    hind = smooth(pts((-0.2, 0.3), (-0.75, 0.1), (-0.85, -0.1), (-0.5, -0.2), (-0.15, 0.1)))
    foot = taper(pts((-0.75, 0.42), (-0.4, 0.46), (-0.05, 0.46)), 0.1, 0.12)
    body = smooth(
        pts(
            (-0.7, 0.3), (-0.5, -0.2), (0.0, -0.42), (0.5, -0.46), (0.85, -0.2), (0.8, 0.05), (0.45, 0.34), (-0.2, 0.44)
        )
    )
    throat = smooth(pts((0.82, -0.02), (0.5, 0.06), (0.2, 0.36), (0.5, 0.3), (0.74, 0.14)))
    arm = taper(pts((0.3, 0.1), (0.22, 0.3), (0.42, 0.46)), 0.18, 0.1)
    hand = taper(pts((0.32, 0.47), (0.64, 0.47)), 0.08, 0.08)
    marks = [blob(body, colour, strokes=12), Mark(throat, light(accent, 0.5), light(accent, 0.2))]
    marks += [
        Mark(ellipse(x, y, 0.07, 0.05), dark(colour, 0.25)) for x, y in rng.uniform((-0.5, -0.15), (0.2, 0.05), (6, 2))
    ]
    mouth = stroke(smooth(pts((0.86, -0.14), (0.6, 0.0), (0.24, -0.06)), False), dark(colour, 0.7), 0.009)
    domes = [blob(ellipse(0.52, -0.46, 0.19, 0.17), colour), *eye(0.56, -0.48, 0.12)]
    limbs = [blob(p, dark(colour, 0.08), strokes=3) for p in (foot, hind, hand, arm)]
    return marks + [mouth] + domes + limbs


ANIMALS = {"bird": bird, "bat": bat, "fish": fish, "lizard": lizard, "frog": frog}
