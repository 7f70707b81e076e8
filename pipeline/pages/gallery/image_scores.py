"""What the metrics say of a single sample, for the table and the information panel of the viewer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.metric_spec import ImageColumn, MetricSpec
from pipeline.pages.gallery.charts import shown


@dataclass(frozen=True)
class ImageScores:
    """`in_table` is the line below the picture; `facts` are (name, value) pairs; `rank` is higher for better pictures.

    `hit` is whether the picture is what it should be (None: unknown), `hit_title` what that means; `nearest` is the
    credit of the nearest training picture with its `cosine`.
    """

    in_table: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    hit: bool | None = None
    hit_title: str = ""
    rank: float = 0.0
    nearest: Mapping[str, str] | None = None


def image_scores(
    row: Mapping[str, Any], specs: Mapping[str, MetricSpec], credits: Mapping[str, Mapping[str, str]]
) -> ImageScores:
    """`row` is the sample's row of `per_image.parquet`, {} without one; `credits` are by file name."""
    columns = [(spec, c) for spec in specs.values() for c in spec.columns if row.get(c.name) is not None]

    def of_kind(kind: str) -> list[tuple[MetricSpec, ImageColumn]]:
        return [(spec, column) for spec, column in columns if column.kind == kind]

    numbers = of_kind("number")
    labels = [column for _, column in of_kind("label") if row[column.name]]
    flags = [column for _, column in of_kind("flag") if row[column.name]]
    hit = next((column for _, column in of_kind("hit")), None)
    is_hit = None if hit is None else bool(row[hit.name])
    return ImageScores(
        in_table=", ".join(
            [f"{spec.title} {shown(spec, row[column.name])}" for spec, column in numbers if column.in_table]
            + [column.title for column in flags if column.in_table]
        ),
        facts=(
            *((spec.heading, shown(spec, row[column.name])) for spec, column in numbers),
            *((column.title, str(row[column.name])) for column in labels),
            *((column.title, column.description) for column in flags),
        ),
        hit=is_hit,
        hit_title="" if hit is None else hit.title if is_hit else hit.description,
        rank=sum(float(row[column.name]) for _, column in columns if column.ranks),
        nearest=next(
            (
                {**credits[row[column.name]], "cosine": shown(spec, row.get(column.cosine))}
                for spec, column in of_kind("training_picture")
                if row[column.name] in credits
            ),
            None,
        ),
    )
