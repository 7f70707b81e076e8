"""The page of a species: the table of samples with its viewer, metrics, training, pictures, credits, lineage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.metric_spec import MetricSpec
from pipeline.pages import render
from pipeline.pages.credits import licence_counts
from pipeline.pages.gallery.charts import held_out_chart, interval_chart, loss_chart, shown
from pipeline.pages.gallery.site import Site, SpeciesResults

SCRIPTS = ["gallery/state.js", "gallery/table.js", "gallery/viewer.js", "gallery/keys.js", "gallery/copy.js"]


def species_pages(site: Site) -> Mapping[str, str]:
    """`<species>/index.html` for each."""
    return {f"{species.key}/index.html": _species_page(site, species) for species in site.species}


def _species_page(site: Site, species: SpeciesResults) -> str:
    metrics, measured = species.metrics, site.measured(species)
    steps, real = metrics.get("steps", {}), metrics.get("real", {})
    snapshots = [snapshot["step"] for snapshot in species.model.get("snapshots", ())]
    charts = [interval_chart(spec, steps, metrics.get("chosen_step", -1), real.get(spec.name)) for spec in measured]
    return render(
        "gallery/species.html",
        title=site.title,
        species=species,
        scripts=SCRIPTS,
        data=species.samples.as_json(),
        facts=facts(site, species),
        charts=[chart for chart in charts if chart],
        rows=_rows(metrics, measured),
        loss=loss_chart(species.losses, snapshots),
        held_out=held_out_chart(species.held_out, snapshots, metrics.get("chosen_step", -1)),
        funnel=_funnel(species),
        licences=licence_counts(species.credits),
        gain=_gain(site.primary(species), metrics.get("gain", {})),
    )


def facts(site: Site, species: SpeciesResults) -> list[tuple[str, str]]:
    """(name, value) of the few numbers at the top of a page."""
    primary, values = site.primary(species), primary_values(species.metrics)
    chosen = species.metrics.get("chosen_step")
    train, held_out = _split_counts(species)
    found = [
        ("chosen", "" if chosen is None else f"step {chosen}" if chosen else "the base"),
        ("pictures trained on, held out", f"{train}, {held_out}" if species.credits else ""),
        ("licences", str(len(licence_counts(species.credits)) or "")),
        ("lineage", species.model.get("lineage_id", "")),
    ]
    if primary:
        found.insert(0, (f"{primary.heading}, base → chosen", " → ".join(shown(primary, value) for value in values)))
    return [(name, value) for name, value in found if value]


def primary_values(metrics: Mapping[str, Any]) -> list[float]:
    """The primary metric of the base and of the chosen step; empty when it was not measured."""
    values = [metrics.get(which, {}).get(metrics.get("primary")) for which in ("base", "chosen")]
    return [] if None in values else values


def _gain(primary: MetricSpec | None, gain: Mapping[str, Any]) -> str:
    """By how much the chosen step beats the base, picture by picture."""
    if primary is None or gain.get("value") is None:
        return ""
    value, low, high = (primary.change(gain[which]) for which in ("value", "low", "high"))
    return f"{value} (95 % interval {low} to {high})"


def _rows(metrics: Mapping[str, Any], measured: list[MetricSpec]) -> list[dict[str, Any]]:
    """The metrics table: a row for each checkpoint, a value with its interval for each metric."""
    rows = []
    for step, values in sorted(metrics.get("steps", {}).items(), key=lambda item: int(item[0])):
        of_pictures = [values[s.name]["n"] for s in measured if s.per == "picture" and s.name in values]
        rows.append(
            {
                "label": f"step {step}" if int(step) else "base",
                "chosen": int(step) == metrics.get("chosen_step"),
                "values": [(spec.name, _value_and_interval(spec, values.get(spec.name))) for spec in measured],
                "n": next((n for n in of_pictures if n), ""),
            }
        )
    return rows


def _value_and_interval(spec: MetricSpec, entry: Mapping[str, Any] | None) -> tuple[str, str]:
    if not entry or entry.get("value") is None:
        return "–", ""
    known = entry.get("low") is not None and entry.get("high") is not None
    return shown(spec, entry["value"]), f"{shown(spec, entry['low'])} to {shown(spec, entry['high'])}" if known else ""


def _funnel(species: SpeciesResults) -> dict[str, Any]:
    """From stored to kept: bars as shares of everything stored."""
    train, held_out = _split_counts(species)
    stored = train + held_out + sum(species.dropped.values())
    dropped = sorted(species.dropped.items(), key=lambda item: (-item[1], item[0]))
    bars = [("stored", stored, "all"), *((code.replace("_", " "), n, "dropped") for code, n in dropped)]
    bars += [("trained on", train, "kept"), ("held out", held_out, "kept")]
    return {
        "stored": stored,
        "bars": [{"label": label, "n": n, "kind": kind, "share": n / stored} for label, n, kind in bars if stored],
    }


def _split_counts(species: SpeciesResults) -> tuple[int, int]:
    """The pictures trained on and those held out."""
    splits = [entry["split"] for entry in species.credits]
    return splits.count("trained on"), splits.count("held out")
