"""Small charts as SVG geometry: numbers in, coordinates out; the templates draw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from pipeline.core.metric_spec import MetricSpec

WIDTH, HEIGHT = 320, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 14, 26  # room for the labels
CURVE_WIDTH, CURVE_HEIGHT = 960, 240
CURVE_POINTS = 320
SMOOTHING = 0.05  # weight of a new loss in the running mean
NO_BREAK = "\u00a0"  # a number and its sign stay on one line
SHOWN_SHARE = 0.99  # of the losses fit in the picture; a spike would flatten the rest


def shown(spec: MetricSpec, value: float | None) -> str:
    """A value on a page: its number and its sign stay on one line; a dash when it was not measured."""
    return spec.text(value).replace(" ", NO_BREAK) if _is_number(value) else "–"


def interval_chart(
    spec: MetricSpec, steps: Mapping[str, Mapping[str, Any]], chosen: int, real: float | None = None
) -> dict[str, Any] | None:
    """One metric over the checkpoints, with intervals; None when no checkpoint has it.

    `real` is what held-out pictures reach themselves, drawn as a line across.
    The checkpoints stand at equal distances: 0, 50, 250 and 500 on a true scale would hide the first two.
    """
    measured = [
        (int(step), values[spec.name])
        for step, values in sorted(steps.items(), key=lambda item: int(item[0]))
        if values.get(spec.name) and _is_number(values[spec.name].get("value"))
    ]
    if not measured:
        return None
    ends = [point.get(end) for _, point in measured for end in ("value", "low", "high")]
    axis = _range([*ends, real], spec.share)
    marks = [
        {**_mark(spec, step, point, axis, chosen), "x": LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / len(measured)}
        for place, (step, point) in enumerate(measured)
    ]
    low, high = axis
    return {
        "metric": spec,
        "marks": marks,
        "line": _path([(mark["x"], mark["y"]) for mark in marks]),
        "ticks": [{"y": _y(value, axis), "text": shown(spec, value)} for value in (low, (low + high) / 2, high)],
        "real": {"y": _y(real, axis), "text": shown(spec, real)} if _is_number(real) else None,
        "summary": "; ".join(f"{mark['label']}: {mark['text']}" for mark in marks),
    }


def loss_chart(rows: Sequence[Mapping[str, float]], snapshots: Sequence[int]) -> dict[str, Any] | None:
    """The training loss: each step faintly, a running mean on top, a line at every snapshot."""
    losses = [(int(row["step"]), float(row["loss"])) for row in rows if _is_number(row["loss"])]
    if len(losses) < 2:
        return None
    first, last = losses[0][0], losses[-1][0]
    smooth = _running_mean([loss for _, loss in losses])
    top = sorted(loss for _, loss in losses)[int(SHOWN_SHARE * (len(losses) - 1))] * 1.05 or 1.0
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


def held_out_chart(rows: Sequence[Mapping[str, float]], snapshots: Sequence[int], chosen: int) -> dict[str, Any] | None:
    """The loss on held-out pictures at each monitored step, relative to that before the training (1)."""
    losses = [(int(row["step"]), float(row["relative"])) for row in rows if _is_number(row["relative"])]
    if len(losses) < 2:
        return None
    values = [loss for _, loss in losses]
    low, high = min(*values, 1.0), max(*values, 1.0)
    room = 0.1 * (high - low) or 0.05
    axis, first, last = (low - room, high + room), losses[0][0], losses[-1][0]

    def y(value: float) -> float:
        return TOP + (CURVE_HEIGHT - TOP - BOTTOM) * (1 - (value - axis[0]) / (axis[1] - axis[0]))

    places = [(LEFT + (CURVE_WIDTH - LEFT - RIGHT) * (step - first) / max(1, last - first), y(v)) for step, v in losses]
    marks = [
        {
            "x": place[0],
            "y": place[1],
            "text": f"{100 * loss:.1f}{NO_BREAK}%",
            "step": step,
            "chosen": step == chosen,
            "snapshot": step in snapshots or step == 0,
        }
        for place, (step, loss) in zip(places, losses)
    ]
    return {
        "marks": marks,
        "line": _path(places),
        "ticks": [{"y": y(value), "text": f"{100 * value:.0f}{NO_BREAK}%"} for value in (low, high)],
        "before": y(1.0),
        "summary": "; ".join(f"step {mark['step']}: {mark['text']}" for mark in marks),
    }


def _mark(
    spec: MetricSpec, step: int, point: Mapping[str, Any], axis: tuple[float, float], chosen: int
) -> dict[str, Any]:
    known = _is_number(point.get("low")) and _is_number(point.get("high"))
    text = shown(spec, point["value"])
    return {
        "y": _y(point["value"], axis),
        "low": _y(point["low"], axis) if known else None,
        "high": _y(point["high"], axis) if known else None,
        "label": f"step {step}" if step else "base",
        "tick": str(step) if step else "base",
        "value": text,
        "text": f"{text} ({shown(spec, point['low'])} to {shown(spec, point['high'])})" if known else text,
        "chosen": step == chosen,
    }


def _range(values: Sequence[float | None], share: bool) -> tuple[float, float]:
    """The ends of the axis: 0 to 1 for shares, else a little more than what is shown."""
    if share:
        return 0.0, 1.0
    known = [value for value in values if _is_number(value)]
    low, high = min(known), max(known)
    room = 0.08 * (high - low) or 0.05
    return low - room, high + room


def _y(value: float, axis: tuple[float, float]) -> float:
    low, high = axis
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low))


def _curve_y(loss: float, top: float) -> float:
    return TOP + (CURVE_HEIGHT - TOP - BOTTOM) * (1 - min(loss, top) / top)


def _running_mean(losses: Sequence[float]) -> list[float]:
    """Exponential, with the bias of its beginning taken out (as Adam does)."""
    means, mean = [], 0.0
    for number, loss in enumerate(losses, start=1):
        mean += SMOOTHING * (loss - mean)
        means.append(mean / (1 - (1 - SMOOTHING) ** number))
    return means


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most as many points as a screen can show, the last one among them."""
    stride = math.ceil(len(points) / CURVE_POINTS)
    return [*points[: len(points) - 1 : stride], points[-1]]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
