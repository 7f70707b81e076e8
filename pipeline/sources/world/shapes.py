"""Curves as arrays of points, in whatever unit the caller draws in; x to the right, y down."""

import numpy as np

Points = np.ndarray


def pts(*pairs: tuple[float, float]) -> Points:
    """Points from pairs (x, y)."""
    return np.array(pairs, dtype=float)


def smooth(points: Points, closed: bool = True, steps: int = 6) -> Points:
    """A Catmull-Rom curve through `points`, with `steps` points per span."""
    p = np.asarray(points, dtype=float)
    ring = np.vstack([p[-1:], p, p[:2]]) if closed else np.vstack([p[:1], p, p[-1:]])
    a, b, c, d = ring[:-3], ring[1:-2], ring[2:-1], ring[3:]
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (v[:, None, :] for v in (a, b, c, d))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.reshape(-1, 2)
    return curve if closed else np.vstack([curve, p[-1:]])


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0, count: int = 28) -> Points:
    """An ellipse around (x, y), turned by `turn` radians."""
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return rotate(np.stack([rx * np.cos(t), ry * np.sin(t)], axis=1), turn) + (x, y)


def rotate(points: Points, turn: float) -> Points:
    """Points turned around the origin by `turn` radians (clockwise on the page, since y points down)."""
    c, s = np.cos(turn), np.sin(turn)
    turned: Points = np.asarray(points, dtype=float) @ np.array([[c, s], [-s, c]])
    return turned


def normals(points: Points) -> Points:
    """Unit vectors across a path, one a point."""
    along = np.gradient(np.asarray(points, dtype=float), axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    return np.stack([-along[:, 1], along[:, 0]], axis=1)


def taper(path: Points, start: float, end: float, middle: float | None = None) -> Points:
    """The outline of a limb along `path`: thickness `start` at its first point, `end` at its last."""
    path = smooth(path, closed=False)
    t = np.linspace(0, 1, len(path))
    knots = ([0, 0.5, 1], [start, middle, end]) if middle is not None else ([0, 1], [start, end])
    half = np.interp(t, *knots)[:, None] / 2 * normals(path)
    return np.vstack([path + half, (path - half)[::-1]])


def fur(outline: Points, length: float, rng: np.random.Generator, lean: tuple[float, float] = (-0.6, 0.25)) -> Points:
    """`outline` with tufts: every second point is pulled outwards by about `length` and along `lean`."""
    ring = np.asarray(outline, dtype=float)
    out = normals(ring)
    if np.sum(out * (ring - ring.mean(0))) < 0:
        out = -out
    pull = (out + np.array(lean)) * (length * rng.uniform(0.5, 1.3, len(ring)))[:, None]
    pull[::2] = 0
    tufted: Points = ring + pull
    return tufted


def beyond(points: Points, x: float) -> Points:
    """The part of a polygon right of `x` (Sutherland-Hodgman with one edge)."""
    kept: list[Points] = []
    for p, q in zip(points, np.roll(points, -1, axis=0)):
        if p[0] >= x:
            kept.append(p)
        if (p[0] >= x) != (q[0] >= x):
            kept.append(p + (q - p) * (x - p[0]) / (q[0] - p[0]))
    return np.array(kept) if len(kept) > 2 else np.empty((0, 2))
