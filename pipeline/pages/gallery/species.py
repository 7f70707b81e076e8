"""The gallery's pages: one for each species, and the overview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.pages import render
from pipeline.pages.charts import METRICS, Metric, interval_chart, loss_chart, metric
from pipeline.pages.credits import licence_counts
from pipeline.pages.suite import Gap, Shot, Suite
from pipeline.pages.usage import usage

STRIP = 3  # prompts on the card of a species
SCRIPTS = ["state.js", "table.js", "viewer.js", "keys.js", "copy.js"]


@dataclass(frozen=True)
class Animal:
    """All that is told of a species. What is not there yet is empty; `missing` has what it is and how to make it."""

    key: str
    name: str
    class_noun: str
    suite: Suite
    credits: Sequence[Mapping[str, str]] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    pages: Sequence[str] = ()  # of curation.html, contact_sheet.html, validation.html those that there are
    validation: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    losses: Sequence[Mapping[str, float]] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    missing: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()


def species_page(title: str, animal: Animal) -> str:
    """`<species>/index.html`: the table of samples with its viewer, metrics, training, curation, credits, lineage."""
    snapshots = [snapshot["step"] for snapshot in animal.model.get("snapshots", ())]
    return render(
        "species.html",
        title=title,
        animal=animal,
        scripts=SCRIPTS,
        data=animal.suite.plain(),
        facts=_facts(animal),
        charts=_charts(animal.metrics),
        rows=_rows(animal.metrics),
        loss=loss_chart(animal.losses, snapshots),
        funnel=_funnel(animal),
        licences=licence_counts(animal.credits),
        usage=_usage(animal),
        gain=_gain(animal),
    )


def overview_page(title: str, animals: Sequence[Animal]) -> str:
    """`index.html`: a card for each species."""
    return render("overview.html", title=title, cards=[_card(animal) for animal in animals])


def _facts(animal: Animal) -> list[tuple[str, str]]:
    """The few numbers at the top of a page."""
    primary, values = _primary(animal.metrics)
    chosen = animal.metrics.get("chosen_step")
    splits = [sum(entry["split"] == split for entry in animal.credits) for split in ("trained on", "held out")]
    facts = [
        (f"{primary.title}, base → chosen", " → ".join(map(primary.text, values))),
        ("chosen", "" if chosen is None else f"step {chosen}" if chosen else "the base"),
        ("pictures trained on, held out", f"{splits[0]}, {splits[1]}" if animal.credits else ""),
        ("licences", str(len(licence_counts(animal.credits)) or "")),
        ("lineage", animal.model.get("lineage_id", "")),
    ]
    return [(name, value) for name, value in facts if value]


def _primary(metrics: Mapping[str, Any]) -> tuple[Metric, list[float]]:
    """The metric that chose the step, and its values for the base and the chosen one, if they were measured."""
    key = metrics.get("primary", "species_accuracy")
    values = [metrics.get(which, {}).get(key) for which in ("base", "chosen")]
    return metric(key), [] if None in values else values


def _gain(animal: Animal) -> str:
    """By how much the chosen step beats the base, picture by picture."""
    gain, change = animal.metrics.get("gain", {}), _primary(animal.metrics)[0].change
    if gain.get("value") is None:
        return ""
    return f"{change(gain['value'])} (95 % interval {change(gain['low'])} to {change(gain['high'])})"


def _charts(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    real = metrics.get("real", {})
    charts = [
        interval_chart(key, metrics.get("steps", {}), metrics.get("chosen_step", -1), real.get(key))
        for key in _keys(metrics)
    ]
    return [chart for chart in charts if chart]


def _rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The metrics table: a row for each checkpoint, a value with its interval for each metric."""
    steps = sorted(metrics.get("steps", {}).items(), key=lambda item: int(item[0]))
    return [
        {
            "label": f"step {step}" if int(step) else "base",
            "chosen": int(step) == metrics.get("chosen_step"),
            "values": [(key, _interval(key, values.get(key))) for key in _keys(metrics)],
            "n": values.get("clip_t", {}).get("n", ""),  # of diversity it is the number of pairs
        }
        for step, values in steps
    ]


def _keys(metrics: Mapping[str, Any]) -> list[str]:
    """The metrics that were measured, those that are known here first and in their order."""
    present = {key for values in metrics.get("steps", {}).values() for key in values}
    return [*(key for key in METRICS if key in present), *sorted(present - METRICS.keys())]


def _interval(key: str, entry: Mapping[str, Any] | None) -> tuple[str, str]:
    """(value, interval) as text."""
    about = metric(key)
    if not entry or entry.get("value") is None:
        return "–", ""
    known = entry.get("low") is not None and entry.get("high") is not None
    return about.text(entry["value"]), f"{about.text(entry['low'])} to {about.text(entry['high'])}" if known else ""


def _funnel(animal: Animal) -> dict[str, Any]:
    """From stored to kept: bars as shares of everything stored."""
    train, held_out = (sum(e["split"] == split for e in animal.credits) for split in ("trained on", "held out"))
    stored = train + held_out + sum(animal.dropped.values())
    dropped = sorted(animal.dropped.items(), key=lambda item: (-item[1], item[0]))
    bars = [("stored", stored, "all"), *((code.replace("_", " "), n, "dropped") for code, n in dropped)]
    bars += [("trained on", train, "kept"), ("held out", held_out, "kept")]
    return {
        "stored": stored,
        "bars": [{"label": label, "n": n, "kind": kind, "share": n / stored} for label, n, kind in bars if stored],
    }


def _usage(animal: Animal) -> str:
    """How the chosen checkpoint loads with diffusers alone."""
    card = animal.model
    paths = {snapshot["step"]: f"models/{animal.key}/{snapshot['path']}" for snapshot in card.get("snapshots", ())}
    return usage(card, paths.get(animal.metrics.get("chosen_step", max(paths, default=0)), card.get("base", "")))


def _card(animal: Animal) -> dict[str, Any]:
    primary, values = _primary(animal.metrics)
    bars = [{"label": label, "text": primary.text(v), "share": v} for label, v in zip(("base", "chosen"), values)]
    return {
        "animal": animal,
        "primary": primary.title,
        "bars": bars,
        "strips": _strips(animal),
        "licences": licence_counts(animal.credits),
        "facts": dict(_facts(animal)),
    }


def _strips(animal: Animal) -> list[tuple[str, list[dict[str, str]]]]:
    """What the base and the chosen step drew for the same prompts and seeds; before that, held-out pictures."""
    suite = animal.suite
    base = next((place for place, column in enumerate(suite.columns) if column.kind == "base"), None)
    steps = [place for place, column in enumerate(suite.columns) if column.kind == "step"]
    chosen = next((place for place in steps if suite.columns[place].chosen), steps[-1] if steps else None)
    if base is None or chosen is None or not suite.cells:
        held_out = [{"thumb": e["thumb"], "alt": e["caption"]} for e in animal.credits if e["split"] == "held out"]
        return [("held out", held_out[:STRIP])] if held_out else []
    pairs = [(_at(suite, row, base, k), _at(suite, row, chosen, k)) for row, k in _best(suite, chosen)]
    pairs = [(before, after) for before, after in pairs if isinstance(before, Shot)]
    return [
        (suite.columns[place].label, [_plain(pair[side]) for pair in pairs])
        for side, place in enumerate((base, chosen))
    ]


def _plain(shot: Shot) -> dict[str, str]:
    return {"thumb": shot.thumb, "alt": shot.alt}


def _best(suite: Suite, column: int) -> list[tuple[int, int]]:
    """(row, seed) of the likeliest picture of a column for each prompt, the best prompts in the order of the table."""
    per_row = []
    for row, cells in enumerate(suite.cells):
        shots = [(shot.rank, -k) for k, shot in enumerate(cells[column]) if not isinstance(shot, Gap)]
        if shots:
            rank, place = max(shots)
            per_row.append((rank, row, -place))
    return sorted((row, k) for _, row, k in sorted(per_row, reverse=True)[:STRIP])


def _at(suite: Suite, row: int, column: int, k: int) -> Shot | Gap:
    shots = suite.cells[row][column]
    return shots[k % len(shots)]
