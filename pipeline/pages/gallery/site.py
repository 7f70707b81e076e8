"""What the pages of the site are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.metric_spec import MetricSpec, unregistered
from pipeline.pages.gallery.samples_table import SamplesTable


@dataclass(frozen=True)
class PreviewRow:
    """What a training drew for one prompt and seed: a picture on the page, or None, for each monitored step."""

    label: str
    pictures: Sequence[Mapping[str, Any] | None]


@dataclass(frozen=True)
class SpeciesResults:
    """Everything that the pages show of a species. What is not there yet is empty.

    `missing` has pairs of what is not there and the command that makes it; `pages` those of curation.html,
    contact_sheet.html and validation.html that there are; `metrics` what metrics.json and verdict.json say together.
    """

    key: str
    name: str
    class_noun: str
    samples: SamplesTable
    credits: Sequence[Mapping[str, str]] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    pages: Sequence[str] = ()
    validation: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    load_snippet: str = ""
    losses: Sequence[Mapping[str, float]] = ()
    held_out: Sequence[Mapping[str, float]] = ()
    previews: Sequence[PreviewRow] = ()
    preview_steps: Sequence[int] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    missing: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Site:
    """`metrics`: the specs of all metrics by name, in the order in which they are shown."""

    title: str
    species: Sequence[SpeciesResults]
    metrics: Mapping[str, MetricSpec]
    cites_pbdb: bool = False

    def measured(self, species: SpeciesResults) -> list[MetricSpec]:
        """The metrics that a species' results have: the registered ones in their order, then those of other names."""
        names = {name for values in species.metrics.get("steps", {}).values() for name in values}
        known = [spec for name, spec in self.metrics.items() if name in names]
        return [*known, *map(unregistered, sorted(names - self.metrics.keys()))]

    def primary(self, species: SpeciesResults) -> MetricSpec | None:
        """The metric that chose the step; None before the evaluation."""
        name = species.metrics.get("primary")
        return (self.metrics.get(name) or unregistered(name)) if name else None
