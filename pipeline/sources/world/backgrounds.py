"""Six places. Each is painted on a canvas of its own at half resolution, which keeps it soft behind the animal."""

import numpy as np

from .canvas import Canvas, Colour, Mark, dark, jitter, light, mix, stroke
from .shapes import Points, ellipse, pts, smooth

PLACES = ("sky", "forest", "river", "sea", "desert", "city")
MOODS: tuple[tuple[Colour, Colour], ...] = (
    ((96, 154, 214), (206, 228, 242)),
    ((120, 176, 222), (240, 238, 226)),
    ((138, 128, 182), (250, 206, 166)),
    ((158, 174, 188), (226, 230, 232)),
    ((90, 132, 178), (246, 222, 190)),
)


def paint(c: Canvas, place: str, ground: bool, rng: np.random.Generator) -> None:
    """Paint `place`; with `ground` there is floor to stand on from about 0.7 of the height down."""
    top, low = MOODS[rng.integers(len(MOODS))]
    c.wash(jitter(top, rng), low)
    _PAINTERS[place](c, ground, low, rng)
    c.brush(110)


def _sky(c: Canvas, ground: bool, haze: Colour, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(3, 7)):
        _cloud(c, rng.uniform(0.05, 0.95), rng.uniform(0.08, 0.95), rng.uniform(0.09, 0.2), rng)


def _cloud(c: Canvas, x: float, y: float, size: float, rng: np.random.Generator) -> None:
    puffs = [
        ellipse(x + dx * size, y + dy * size * 0.2, size * r, size * r * 0.5)
        for dx, dy, r in rng.uniform((-1.2, -1, 0.4), (1.2, 1, 0.8), (6, 3))
    ]
    c.soft([p + (0, size * 0.14) for p in puffs], (176, 186, 206), 0.03, 130)
    c.soft(puffs, (255, 252, 246), 0.022, 220)


def _hills(c: Canvas, y: float, height: float, colour: Colour, rng: np.random.Generator) -> None:
    xs = np.linspace(-0.05, 1.05, 7)
    ridge = smooth(np.stack([xs, y - height * rng.random(7)], axis=1), closed=False)
    c.add([Mark(np.vstack([ridge, [(1.05, 1.05), (-0.05, 1.05)]]), light(colour, 0.1), dark(colour, 0.22), strokes=14)])


def _forest(c: Canvas, ground: bool, haze: Colour, rng: np.random.Generator) -> None:
    green = jitter(((74, 122, 74), (96, 134, 62), (58, 108, 92))[rng.integers(3)], rng)
    c.wash(mix(haze, green, 0.25), mix(haze, green, 0.6))
    for depth, (count, share) in enumerate(((8, 0.5), (6, 0.8))):
        for x in np.linspace(0.0, 1.0, count) + rng.uniform(-0.07, 0.07, count):
            _tree(c, x, 0.72 + 0.08 * depth, rng.uniform(0.5, 0.85), mix(haze, green, share), rng)
    _hills(c, 0.78 if ground else 0.9, 0.05, mix(green, (150, 140, 80), 0.25), rng)
    c.add(
        [
            stroke(pts((x, y), (x + 0.01, y - 0.045)), dark(green, 0.2), 0.01, 150)
            for x, y in rng.uniform((0, 0.86), (1, 1.02), (26, 2))
        ]
    )


def _tree(c: Canvas, x: float, foot: float, height: float, green: Colour, rng: np.random.Generator) -> None:
    bark = mix(green, (96, 70, 52), 0.6)
    c.add(
        [Mark(pts((x - 0.014, foot), (x - 0.008, foot - height), (x + 0.008, foot - height), (x + 0.014, foot)), bark)]
    )
    if rng.random() < 0.5:
        tiers = [(foot - height * s, w) for s, w in ((0.3, 0.12), (0.55, 0.095), (0.8, 0.06))]
        crown = [pts((x - w, y), (x, y - height * 0.36), (x + w, y)) for y, w in tiers]
    else:
        crown = [ellipse(x + dx, foot - height + dy, 0.085, 0.075) for dx, dy in rng.uniform(-0.06, 0.06, (4, 2))]
    c.add([Mark(p, light(jitter(green, rng, 8), 0.12), dark(green, 0.25), strokes=4) for p in crown])


def _river(c: Canvas, ground: bool, haze: Colour, rng: np.random.Generator) -> None:
    grass = jitter(((122, 160, 84), (150, 166, 92), (104, 146, 96))[rng.integers(3)], rng)
    y = rng.uniform(0.42, 0.5) if ground else rng.uniform(0.5, 0.6)
    _hills(c, y, 0.16, mix(haze, (96, 124, 132), 0.55), rng)
    _hills(c, y + 0.03, 0.03, grass, rng)
    for x in rng.random(5):
        c.add([Mark(ellipse(x, y + 0.01, 0.05, 0.035), light(grass, 0.05), dark(grass, 0.35))])
    water = jitter((92, 152, 196), rng)
    course = _across(y + 0.06, rng) if ground else _course(y + 0.02, rng)
    c.add([Mark(course, mix(water, haze, 0.45), water, dark(grass, 0.3), 0.008, strokes=10)])
    c.add(_ripples(course, rng))


def _across(y: float, rng: np.random.Generator) -> Points:
    """The outline of a river that crosses the picture behind the near bank."""
    xs = np.linspace(-0.05, 1.05, 8)
    far, near = y + rng.uniform(-0.012, 0.012, 8), y + 0.19 + rng.uniform(-0.02, 0.02, 8)
    return np.vstack([smooth(np.stack([xs, far], 1), False), smooth(np.stack([xs, near], 1), False)[::-1]])


def _course(y: float, rng: np.random.Generator) -> Points:
    """The outline of a river that winds from the horizon to the front and widens."""
    t = np.linspace(0, 1, 8)
    middle = 0.5 + rng.uniform(-0.15, 0.15) + 0.2 * np.sin(t * 5 + rng.uniform(0, 6)) * (0.4 + 0.4 * t)
    half = 0.012 + 0.3 * t**1.6
    height = y + (1.04 - y) * t**1.3
    left, right = np.stack([middle - half, height], 1), np.stack([middle + half, height], 1)
    return np.vstack([smooth(left, False), smooth(right, False)[::-1]])


def _ripples(course: Points, rng: np.random.Generator) -> list[Mark]:
    half = len(course) // 2
    rows = rng.integers(half // 2, half, 12)
    marks = []
    for row, at in zip(rows, rng.uniform(0.2, 0.8, 12)):
        p = course[row] + (course[-1 - row] - course[row]) * at
        marks.append(stroke(np.stack([p - (0.03, 0), p + (0.03, 0)]), (226, 240, 246), 0.006, 150))
    return marks


def _sea(c: Canvas, ground: bool, haze: Colour, rng: np.random.Generator) -> None:
    y = rng.uniform(0.5, 0.66)
    if rng.random() < 0.5:
        c.soft([ellipse(rng.uniform(0.15, 0.85), y - 0.14, 0.06, 0.06)], (255, 244, 206), 0.02, 255)
    if rng.random() < 0.5:
        _cloud(c, rng.random(), rng.uniform(0.1, 0.35), 0.14, rng)
    water(c, y, haze, rng)
    if ground:
        _hills(c, 0.8, 0.05, jitter((206, 184, 142), rng), rng)


def water(c: Canvas, y: float, haze: Colour, rng: np.random.Generator) -> None:
    """Open water from the height `y` down, with waves."""
    blue = jitter(((52, 116, 158), (44, 128, 142), (70, 124, 172))[rng.integers(3)], rng)
    c.wash(mix(blue, haze, 0.4), dark(blue, 0.2), y, 1.0)
    for x, t in rng.random((46, 2)):
        h, w = y + 0.02 + (1 - y) * t**1.2, 0.025 + 0.06 * t
        crest = smooth(
            pts((x - w, h), (x - w / 2, h - 0.008 - 0.01 * t), (x, h), (x + w / 2, h - 0.008), (x + w, h)), False
        )
        c.add([stroke(crest, light(blue, 0.62), 0.004 + 0.005 * t, 130)])


def _desert(c: Canvas, ground: bool, haze: Colour, rng: np.random.Generator) -> None:
    sand = jitter(((222, 178, 112), (214, 152, 92), (230, 196, 138))[rng.integers(3)], rng)
    y = rng.uniform(0.5, 0.6) if ground else rng.uniform(0.62, 0.74)
    c.soft([ellipse(rng.uniform(0.15, 0.85), rng.uniform(0.12, 0.3), 0.06, 0.06)], (255, 246, 214), 0.025, 230)
    if rng.random() < 0.6:
        x, w = rng.uniform(0.1, 0.7), rng.uniform(0.14, 0.24)
        mesa = pts((x, y + 0.05), (x + 0.03, y - 0.14), (x + w, y - 0.14), (x + w + 0.05, y + 0.05))
        c.add([Mark(mesa, mix(haze, (196, 112, 78), 0.55), mix(haze, (150, 84, 66), 0.7), strokes=6)])
    for step in range(3):
        _hills(c, y + 0.05 + 0.13 * step, 0.1, mix(haze, sand, 0.6 + 0.2 * step), rng)


def _city(c: Canvas, ground: bool, haze: Colour, rng: np.random.Generator) -> None:
    foot = 0.76 if ground else 0.9
    for depth, share in enumerate((0.35, 0.7)):
        left = -0.06
        while left < 1.0:
            w = rng.uniform(0.1, 0.19)
            tone = ((168, 150, 140), (132, 146, 166), (186, 158, 128), (140, 136, 150))[rng.integers(4)]
            _house(c, left, foot, w, rng.uniform(0.3, 0.62) * (1.15 - 0.35 * depth), mix(haze, tone, share), depth, rng)
            left += w + rng.uniform(0.0, 0.03) + 0.03 * depth
    c.wash((150, 148, 150), (112, 112, 118), foot, 1.0)
    line = (foot + 1) / 2 + 0.04
    c.add(
        [
            Mark(pts((x, line), (x + 0.11, line), (x + 0.1, line + 0.018), (x - 0.01, line + 0.018)), (230, 224, 200))
            for x in np.arange(-0.05, 1, 0.2)
        ]
    )


def _house(
    c: Canvas, x: float, foot: float, w: float, h: float, tone: Colour, depth: int, rng: np.random.Generator
) -> None:
    c.add(
        [
            Mark(
                pts((x, foot), (x, foot - h), (x + w, foot - h), (x + w, foot)),
                light(tone, 0.1),
                dark(tone, 0.18),
                dark(tone, 0.3),
                0.005,
            )
        ]
    )
    pane = light(tone, 0.55) if rng.random() < 0.5 else dark(tone, 0.35)
    rows, cols = int(h / 0.075), max(int(w / 0.045), 1)
    step = w / cols
    for row in range(rows):
        y = foot - h + 0.025 + row * 0.075
        xs = x + step * (np.arange(cols) + 0.25)
        c.add([Mark(pts((a, y), (a + step * 0.5, y), (a + step * 0.5, y + 0.04), (a, y + 0.04)), pane) for a in xs])


_PAINTERS = {"sky": _sky, "forest": _forest, "river": _river, "sea": _sea, "desert": _desert, "city": _city}
