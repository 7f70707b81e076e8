"""Charts of distributions (stacked columns, hue wheel, scatter) as SVG geometry; the templates draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

WIDTH, HEIGHT = 400, 180
LEFT, RIGHT, TOP, BOTTOM = 40, 6, 12, 34  # room for the labels
GAP, COLUMN = 3, 64  # between columns, and how wide one may be
HUB, RIM = 34, 88  # radii of the hue wheel in a square of 2 x 100
SECTORS = 24
MAP_WIDTH, MAP_HEIGHT, MAP_ROOM = 960, 560, 26
THUMB_PX = 52  # side of a thumbnail on the map


def stacked_columns(
    bins: pd.Series, states: pd.Series, order: Sequence[str], labels: Sequence[str]
) -> dict[str, Any] | None:
    """Stacked columns: how many pictures of each state lie in each bin; None when nothing does.

    `bins` are indices into `labels`, `order` names the states from the bottom up; empty bins at both ends are left out.
    """
    counts = pd.crosstab(bins, states).reindex(index=range(len(labels)), columns=list(order), fill_value=0)
    sums = counts.sum(axis=1)
    if not sums.any():
        return None
    first, last = sums.to_numpy().nonzero()[0][[0, -1]]
    shown, top = counts.iloc[first : last + 1], int(sums.max())
    step = min((WIDTH - LEFT - RIGHT) / len(shown), COLUMN)
    bars = [_stack(LEFT + place * step, step, row, labels[at], top) for place, (at, row) in enumerate(shown.iterrows())]
    ticks = [{"y": _y(value, top), "text": thousands(value)} for value in sorted({0, top // 2, top})]
    return {"bars": bars, "ticks": ticks, "order": list(order), "width": WIDTH, "height": HEIGHT}


def _stack(left: float, step: float, counts: pd.Series, label: str, top: int) -> dict[str, Any]:
    parts, below = [], 0
    for state, n in counts.items():
        parts.append(
            {"state": state, "n": int(n), "y": _y(below + n, top), "height": _y(below, top) - _y(below + n, top)}
        )
        below += int(n)
    return {
        "x": left + GAP / 2,
        "width": step - GAP,
        "middle": left + step / 2,
        "label": label,
        "n": below,
        "parts": parts,
    }


def _y(value: float, top: int) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)


def hue_wheel(hues_deg: Sequence[float]) -> list[dict[str, Any]]:
    """Sectors of a hue wheel, red on top and clockwise: as long as there are pictures of that hue."""
    width = 360 / SECTORS
    counts = np.bincount((np.asarray(hues_deg, dtype=float) % 360 // width).astype(int), minlength=SECTORS)[:SECTORS]
    most = max(int(counts.max()), 1)
    return [
        {
            "path": _sector(k * width, (k + 1) * width, HUB + (RIM - HUB) * n / most),
            "n": int(n),
            "hue": (k + 0.5) * width,
        }
        for k, n in enumerate(counts)
    ]


def _sector(start_deg: float, end_deg: float, radius: float) -> str:
    (a, b), (c, d) = (_polar(start_deg, radius), _polar(end_deg, radius))
    (e, f), (g, h) = (_polar(end_deg, HUB), _polar(start_deg, HUB))
    return f"M{a} {b}A{radius:.1f} {radius:.1f} 0 0 1 {c} {d}L{e} {f}A{HUB} {HUB} 0 0 0 {g} {h}Z"


def _polar(degrees: float, radius: float) -> tuple[str, str]:
    turn = math.radians(degrees)
    return f"{radius * math.sin(turn):.1f}", f"{-radius * math.cos(turn):.1f}"


def scatter(x: pd.Series, y: pd.Series) -> pd.DataFrame:
    """The points in the rectangle of the map: columns `x`, `y`, and `free` where a thumbnail covers no earlier one."""
    left = _spread(x, MAP_WIDTH)
    down = MAP_HEIGHT - _spread(y, MAP_HEIGHT)
    taken: list[tuple[float, float]] = []
    free = [_takes(taken, point) for point in zip(left, down)]
    return pd.DataFrame({"x": left, "y": down, "free": free})


def _takes(taken: list[tuple[float, float]], point: tuple[float, float]) -> bool:
    """Add the point to those with a thumbnail if none of them is too close."""
    free = all(max(abs(point[0] - x), abs(point[1] - y)) >= THUMB_PX for x, y in taken)
    if free:
        taken.append(point)
    return free


def _spread(values: pd.Series, length: float) -> pd.Series:
    low, extent = values.min(), values.max() - values.min()
    return MAP_ROOM + (length - 2 * MAP_ROOM) * ((values - low) / extent if extent else values * 0 + 0.5)


def thousands(number: float) -> str:
    """12345 as 12 345, with narrow spaces that do not break."""
    return f"{number:,.0f}".replace(",", "\u202f")
