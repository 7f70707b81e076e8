"""Small charts as SVG geometry: numbers in, coordinates out; the templates draw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 320, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 14, 26  # room for the labels
CURVE_WIDTH, CURVE_HEIGHT = 960, 240
CURVE_POINTS = 320
SMOOTH = 0.05  # weight of a new loss in the running mean
NO_BREAK = "\u00a0"  # a number and its sign stay on one line
ROBUST = 0.99  # of the losses fit in the picture; a spike would flatten the rest


@dataclass(frozen=True)
class Metric:
    """How a metric is called, in full and in a narrow column, what it says, and how its values are written."""

    key: str
    title: str
    short: str
    says: str
    share: bool = False

    def text(self, value: float | None) -> str:
        """A value as people read it; a dash when it was not measured."""
        if value is None or math.isnan(value):
            return "–"
        return f"{100 * value:.0f}{NO_BREAK}%" if self.share else f"{value:.3f}"

    def change(self, value: float) -> str:
        """A difference of two values."""
        return f"{100 * value:+.0f} points" if self.share else f"{value:+.3f}"


NEARER = "share nearer to this animal's held-out pictures than to any other's"
KNOWN = (
    Metric("species_accuracy", "Species accuracy", "accuracy", NEARER, True),
    Metric("clip_i", "Likeness (CLIP-I)", "CLIP-I", "cosine to the held-out pictures; higher is more alike"),
    Metric("clip_t", "Prompt fidelity (CLIP-T)", "CLIP-T", "cosine to the prompt; higher is closer to its words"),
    Metric("diversity", "Diversity", "diversity", "how different the pictures of one prompt are; near 0 they are one"),
    Metric("nearest_train", "Nearest training picture", "nearest", "cosine to it; near 1 the model copies"),
    Metric("memorised", "Copies", "copies", "share nearer to a training picture than held-out ones are", True),
)
METRICS = {metric.key: metric for metric in KNOWN}


def metric(key: str) -> Metric:
    """What is known of a metric; one that is new here is shown under its own name."""
    name = key.replace("_", " ")
    return METRICS.get(key) or Metric(key, name.capitalize(), name, "")


def interval_chart(
    key: str, steps: Mapping[str, Mapping[str, Any]], chosen: int, real: float | None = None
) -> dict[str, Any] | None:
    """One metric over the checkpoints, with intervals; None when no checkpoint has it.

    `real` is what held-out pictures reach themselves, drawn as a line across.
    The checkpoints stand at equal distances: 0, 50, 250 and 500 on a true scale would hide the first two.
    """
    about = metric(key)
    points = [
        (int(step), values[key])
        for step, values in sorted(steps.items(), key=lambda item: int(item[0]))
        if values.get(key)
    ]
    points = [(step, point) for step, point in points if _real(point.get("value"))]
    if not points:
        return None
    ends = [point.get(end) for _, point in points for end in ("value", "low", "high")]
    low, high = _range([*ends, real], about.share)
    marks = [
        _mark(about, step, point, place, len(points), low, high, chosen) for place, (step, point) in enumerate(points)
    ]
    return {
        "metric": about,
        "marks": marks,
        "line": _path([(mark["x"], mark["y"]) for mark in marks]),
        "ticks": [{"y": _y(value, low, high), "text": about.text(value)} for value in (low, (low + high) / 2, high)],
        "real": {"y": _y(real, low, high), "text": about.text(real)} if _real(real) else None,
        "summary": "; ".join(f"{mark['label']}: {mark['text']}" for mark in marks),
    }


def loss_chart(rows: Sequence[Mapping[str, float]], snapshots: Sequence[int]) -> dict[str, Any] | None:
    """The training loss: each step faintly, a running mean on top, a line at every snapshot."""
    losses = [(int(row["step"]), float(row["loss"])) for row in rows if _real(row["loss"])]
    if len(losses) < 2:
        return None
    first, last = losses[0][0], losses[-1][0]
    smooth = _running_mean([loss for _, loss in losses])
    top = sorted(loss for _, loss in losses)[int(ROBUST * (len(losses) - 1))] * 1.05 or 1.0
    scale = [LEFT + (CURVE_WIDTH - LEFT - RIGHT) * (step - first) / max(1, last - first) for step, _ in losses]
    return {
        "raw": _path(_thin([(x, _curve_y(loss, top)) for x, (_, loss) in zip(scale, losses)])),
        "smooth": _path(_thin([(x, _curve_y(loss, top)) for x, loss in zip(scale, smooth)])),
        "ticks": [{"y": _curve_y(value, top), "text": f"{value:.3g}"} for value in (0, top / 2, top)],
        "snapshots": [{"x": x, "step": step} for x, (step, _) in zip(scale, losses) if step in snapshots],
        "first": smooth[0],
        "last": smooth[-1],
        "steps": last,
    }


def _mark(
    about: Metric, step: int, point: Mapping, place: int, count: int, low: float, high: float, chosen: int
) -> dict:
    known = _real(point.get("low")) and _real(point.get("high"))
    text = about.text(point["value"])
    return {
        "x": LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / count,
        "y": _y(point["value"], low, high),
        "low": _y(point["low"], low, high) if known else None,
        "high": _y(point["high"], low, high) if known else None,
        "label": f"step {step}" if step else "base",
        "tick": str(step) if step else "base",
        "value": text,
        "text": f"{text} ({about.text(point['low'])} to {about.text(point['high'])})" if known else text,
        "chosen": step == chosen,
    }


def _range(values: Sequence[float | None], share: bool) -> tuple[float, float]:
    """The ends of the axis: 0 to 1 for shares, else a little more than what is shown."""
    if share:
        return 0.0, 1.0
    known = [value for value in values if _real(value)]
    low, high = min(known), max(known)
    room = 0.08 * (high - low) or 0.05
    return low - room, high + room


def _y(value: float, low: float, high: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low))


def _curve_y(loss: float, top: float) -> float:
    return TOP + (CURVE_HEIGHT - TOP - BOTTOM) * (1 - min(loss, top) / top)


def _running_mean(losses: Sequence[float]) -> list[float]:
    """Exponential, with the bias of its beginning taken out (as Adam does)."""
    means, mean = [], 0.0
    for number, loss in enumerate(losses, start=1):
        mean += SMOOTH * (loss - mean)
        means.append(mean / (1 - (1 - SMOOTH) ** number))
    return means


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most as many points as a screen can show, the last one among them."""
    stride = math.ceil(len(points) / CURVE_POINTS)
    return [*points[: len(points) - 1 : stride], points[-1]]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _real(value: Any) -> bool:
    return value is not None and math.isfinite(value)
