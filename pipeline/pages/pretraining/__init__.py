"""The page and the model card of a pre-training: curves, reconstructions, what CLIP confuses, pictures for prompts."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from pipeline.pages import percent, render

CURVE_POINTS = 240
CURVE_WIDTH, CURVE_HEIGHT = 320, 120
SHARES = ("accuracy",)  # names of numbers that end so are shown as per cent


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


def page(
    *,
    numbers: Mapping[str, float],
    losses: Mapping[str, Sequence[float]],
    kinds: Sequence[str],
    confusion: Sequence[Sequence[int]],
    samples: Mapping[str, Sequence[Image.Image]],
    held_out: Sequence[Image.Image],
    reconstructed: Sequence[Image.Image],
) -> str:
    """One self-contained HTML document; `confusion` has a row per drawn kind, a column per answer."""
    rows = [
        {"kind": kind, "counts": list(map(int, counts)), "share": percent(counts[place] / max(1, sum(counts)))}
        for place, (kind, counts) in enumerate(zip(kinds, confusion, strict=True))
    ]
    return render(
        "pretraining/pretraining.html",
        facts=facts(numbers),
        curves=[curve(name, values) for name, values in losses.items() if values],
        reconstructions=[strip("held-out drawing", held_out), strip("through the autoencoder", reconstructed)],
        kinds=list(kinds),
        rows=rows,
        samples=[strip(prompt, images) for prompt, images in samples.items()],
        width=CURVE_WIDTH,
        height=CURVE_HEIGHT,
    )


def facts(numbers: Mapping[str, float]) -> dict[str, str]:
    """Numbers as people read them: {"clip zero shot accuracy": "97 %"}."""
    return {name.replace("_", " "): readable(name, value) for name, value in numbers.items()}


def readable(name: str, value: float) -> str:
    if name.endswith(SHARES):
        return percent(value)
    return f"{value:,.0f}" if value >= 1000 or float(value).is_integer() else f"{value:.3g}"


def curve(title: str, losses: Sequence[float]) -> Curve:
    """Means of equal stretches: single steps are mostly noise."""
    stretch = max(1, len(losses) // CURVE_POINTS)
    parts = [losses[start : start + stretch] for start in range(0, len(losses), stretch)]
    means = [sum(part) / len(part) for part in parts]
    heights = [math.log(max(value, 1e-9)) for value in means]
    low, span = min(heights), max(max(heights) - min(heights), 1e-9)
    points = [
        f"{place / max(len(means) - 1, 1) * CURVE_WIDTH:.1f} {CURVE_HEIGHT * (1 - (height - low) / span):.1f}"
        for place, height in enumerate(heights)
    ]
    return Curve(title, "M" + " L".join(points), means[0], means[-1], len(losses))


def strip(label: str, images: Sequence[Image.Image]) -> Strip:
    return Strip(label, tuple(data_uri(image) for image in images))


def data_uri(image: Image.Image) -> str:
    """A PNG inside the page: it opens from disk without a second file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
