"""The overview of the site: a card for each species."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.pages import render
from pipeline.pages.credits import licence_counts
from pipeline.pages.gallery.charts import shown
from pipeline.pages.gallery.samples_table import Gap, SamplesTable, TableImage
from pipeline.pages.gallery.site import Site, SpeciesResults
from pipeline.pages.gallery.species import facts, primary_values

STRIP = 3  # prompts on the card of a species


def overview_page(site: Site) -> Mapping[str, str]:
    cards = [_card(site, species) for species in site.species]
    return {"index.html": render("gallery/overview.html", title=site.title, cards=cards)}


def _card(site: Site, species: SpeciesResults) -> dict[str, Any]:
    primary, bars = site.primary(species), []
    if primary:
        values = zip(("base", "chosen"), primary_values(species.metrics))
        bars = [{"label": label, "text": shown(primary, value), "share": value} for label, value in values]
    return {
        "species": species,
        "primary": primary.heading if primary else "",
        "bars": bars,
        "strips": _strips(species),
        "licences": licence_counts(species.credits),
        "facts": dict(facts(site, species)),
    }


def _strips(species: SpeciesResults) -> list[tuple[str, list[dict[str, str]]]]:
    """What the base and the chosen step drew for the same prompts and seeds; before that, held-out pictures."""
    table = species.samples
    base = next((place for place, column in enumerate(table.columns) if column.kind == "base"), None)
    steps = [place for place, column in enumerate(table.columns) if column.kind == "step"]
    chosen = next((place for place in steps if table.columns[place].chosen), steps[-1] if steps else None)
    if base is None or chosen is None or not table.cells:
        held_out = [{"thumb": e["thumb"], "alt": e["caption"]} for e in species.credits if e["split"] == "held out"]
        return [("held out", held_out[:STRIP])] if held_out else []
    pairs = [(table.cells[row][base][k], table.cells[row][chosen][k]) for row, k in _best(table, chosen)]
    shown_pairs = [pair for pair in pairs if isinstance(pair[0], TableImage)]
    return [
        (table.columns[place].label, [{"thumb": i.thumb, "alt": i.alt} for i in images if isinstance(i, TableImage)])
        for place, images in zip((base, chosen), zip(*shown_pairs) if shown_pairs else ((), ()))
    ]


def _best(table: SamplesTable, column: int) -> list[tuple[int, int]]:
    """(row, seed) of the best picture of a column for each prompt, the best prompts in the order of the table."""
    per_row = []
    for row, cells in enumerate(table.cells):
        ranks = [(image.rank, -k) for k, image in enumerate(cells[column]) if not isinstance(image, Gap)]
        if ranks:
            rank, place = max(ranks)
            per_row.append((rank, row, -place))
    return sorted((row, k) for _, row, k in sorted(per_row, reverse=True)[:STRIP])
