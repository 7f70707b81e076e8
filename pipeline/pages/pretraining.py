"""The page of a pre-training: curves, reconstructions, what CLIP confuses, and pictures for prompts."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from PIL import Image

TEMPLATES = Path(__file__).with_name("templates")
CURVE_POINTS = 240
CURVE_WIDTH, CURVE_HEIGHT = 320, 120


@dataclass(frozen=True)
class Curve:
    """A loss over steps, ready to draw: `path` in a 320 x 120 box, logarithmic in y."""

    title: str
    path: str
    first: float
    last: float
    steps: int


@dataclass(frozen=True)
class Strip:
    """A labelled row of pictures as data URIs."""

    label: str
    images: tuple[str, ...]


def render(*, title: str, facts: dict[str, str], curves: Sequence[Curve], reconstructions: Sequence[Strip], kinds: Sequence[str],
           confusion: Sequence[Sequence[int]], samples: Sequence[Strip]) -> str:
    """One self-contained HTML document."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    rows = [(kind, counts, sum(counts)) for kind, counts in zip(kinds, confusion, strict=True)]
    return environment.get_template("pretraining.html").render(
        title=title, facts=facts, curves=curves, reconstructions=reconstructions, kinds=kinds, rows=rows, samples=samples,
        width=CURVE_WIDTH, height=CURVE_HEIGHT)


def curve(title: str, losses: Sequence[float]) -> Curve:
    """Means of equal stretches: single steps are mostly noise."""
    stretch = max(1, len(losses) // CURVE_POINTS)
    means = [sum(part) / len(part) for start in range(0, len(losses), stretch) if (part := losses[start : start + stretch])]
    heights = [math.log(max(value, 1e-9)) for value in means]
    low, span = min(heights), max(max(heights) - min(heights), 1e-9)
    points = [(index / max(len(means) - 1, 1) * CURVE_WIDTH, CURVE_HEIGHT - (height - low) / span * CURVE_HEIGHT)
              for index, height in enumerate(heights)]
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return Curve(title, path, means[0], means[-1], len(losses))


def strip(label: str, images: Sequence[Image.Image]) -> Strip:
    return Strip(label, tuple(data_uri(image) for image in images))


def data_uri(image: Image.Image) -> str:
    """A PNG inside the page: it opens from disk without a second file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
