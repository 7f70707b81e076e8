"""What is said about a metric wherever it is shown: names, direction, format, and its columns of `per_image.parquet`.

Each metric owns its spec (`pipeline.metrics.METRICS`). Evaluation, charts, gallery, promotion gate and MLflow read it
and know no metric by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.core import registry

METRICS = "pipeline.metrics:METRICS"


@dataclass(frozen=True)
class ImageColumn:
    """A column of `per_image.parquet`, and how a page shows what it says of one picture.

    number            a number, in the format of its metric
    hit               a check mark where it is true, which means `title`; a cross where not, which means `description`
    flag              a warning where it is true: `title`, and `description` beside the other facts
    label             a text; empty says nothing
    training_picture  the file name of a curated picture; the number in the column `cosine` belongs to it
    """

    name: str
    kind: Literal["number", "hit", "flag", "label", "training_picture"] = "number"
    title: str = ""
    description: str = ""
    cosine: str = ""
    in_table: bool = False  # also in the line below the picture, not only among its facts
    ranks: bool = False  # the best pictures of a checkpoint have the largest sum of these columns


@dataclass(frozen=True)
class MetricSpec:
    """A metric in words.

    `title` stands in sentences, `heading` above a chart, `label` in a narrow column. The values of a `share` are 0 or
    1, so their mean is a share of the pictures, shown in per cent; other values are numbers, followed by `unit` if
    they have one. `needs` names inputs (`pipeline.metrics.inputs.INPUTS`) without which the metric cannot be measured.
    """

    name: str
    title: str
    heading: str
    label: str
    description: str = ""
    direction: Literal["higher", "lower"] = "higher"
    share: bool = False
    unit: str = ""
    per: Literal["picture", "pair"] = "picture"  # what one value is measured on, and the number n of a score counts
    needs: tuple[str, ...] = ()
    in_report: bool = True  # a line of the report that `paleo evaluate` prints
    columns: tuple[ImageColumn, ...] = ()

    def text(self, value: float, digits: int = 0) -> str:
        """A value as people read it: `92 %` (with `digits` decimals) or `0.873`."""
        if self.share:
            return f"{100 * value:.{digits}f} %"
        return f"{value:.3f} {self.unit}".rstrip()

    def change(self, value: float) -> str:
        """A difference of two values: `+12 points` or `+0.024`."""
        return f"{100 * value:+.0f} points" if self.share else f"{value:+.3f} {self.unit}".rstrip()

    def oriented(self, value: float) -> float:
        """The value, negated where lower is better: of two values the larger one is better."""
        return value if self.direction == "higher" else -value


def metric_spec(name: str) -> MetricSpec:
    """The spec of one metric; imports that metric only. A name that is not registered (now) is shown as it is."""
    known = registry.load(METRICS)
    return registry.plugin(known[name]).spec if name in known else unregistered(name)


def unregistered(name: str) -> MetricSpec:
    """For a metric of a result that was written when there was one of this name."""
    words = name.replace("_", " ")
    return MetricSpec(name, words, words.capitalize(), words)
