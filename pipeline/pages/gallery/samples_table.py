"""The table of samples of a species: prompts down, checkpoints across, the same seeds in every column.

A cell is a list with an entry for each seed: a picture with all that is known of it, or a gap with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.core.metric_spec import MetricSpec, unregistered
from pipeline.pages.gallery.charts import shown
from pipeline.pages.gallery.generate_command import generate_command
from pipeline.pages.gallery.image_scores import image_scores


@dataclass(frozen=True)
class TableColumn:
    """`kind` is real, base, step or external; `note` is the small line below the label."""

    id: str
    label: str
    kind: str
    note: str = ""
    step: int = -1
    chosen: bool = False


@dataclass(frozen=True)
class TableImage:
    """A picture as the table and the viewer show it; `facts` are (name, value) pairs of the information panel."""

    src: str
    thumb: str
    width_px: int
    height_px: int
    alt: str
    label: str
    facts: tuple[tuple[str, str], ...] = ()
    score: str = ""
    hit: bool | None = None
    hit_title: str = ""
    rank: float = 0.0
    parameters: str = ""
    command: str = ""
    nearest: Mapping[str, str] | None = None
    credit: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Gap:
    """A place of a cell without a picture."""

    reason: str


Cell = tuple[TableImage | Gap, ...]


@dataclass(frozen=True)
class SamplesTable:
    """`cells[row][column]` has an entry for each seed."""

    species: str
    name: str
    columns: tuple[TableColumn, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: tuple[tuple[Cell, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """For the viewer; `pin` is the column that others are compared with."""
        first = next((index for index, column in enumerate(self.columns) if column.kind == "base"), 0)
        return {**asdict(self), "pin": self.columns[first].id if self.columns else ""}


@dataclass(frozen=True)
class SampledPictures:
    """Rows of samples.parquet, and by file name: the picture on the page, its parameters, its row of scores."""

    rows: Sequence[Mapping[str, Any]]
    pictures: Mapping[str, Mapping[str, Any]]
    parameters: Mapping[str, str]
    scores: Mapping[str, Mapping[str, Any]]

    @property
    def prompts(self) -> dict[int, str]:
        """{index: prompt} in the order of params."""
        return dict(sorted({int(row["prompt_index"]): row["prompt"] for row in self.rows}.items()))


@dataclass(frozen=True)
class ExternalPictures:
    """A column of pictures from elsewhere: {prompt index: pictures} and {prompt index: why there is none}."""

    name: str
    pictures: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class TableInputs:
    """What the table joins. `snapshots` are (label, step), `held_out` (credit, picture); `credits` are by file name.

    `metrics` is what metrics.json and verdict.json say together, {} before the evaluation; `specs` are by name.
    """

    species: str
    name: str
    sampled: SampledPictures
    snapshots: Sequence[tuple[str, int]] = ()
    held_out: Sequence[tuple[Mapping[str, str], Mapping[str, Any]]] = ()
    external: Sequence[ExternalPictures] = ()
    credits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    specs: Mapping[str, MetricSpec] = field(default_factory=dict)


def samples_table(inputs: TableInputs) -> SamplesTable:
    """Join samples, scores, held-out and external pictures into the table."""
    prompts = inputs.sampled.prompts
    seeds = tuple(sorted({int(row["seed"]) for row in inputs.sampled.rows}))
    checkpoints, external = _checkpoint_columns(inputs), {f"x-{each.name}": each for each in inputs.external}
    columns = [
        *([TableColumn("real", "real", "real", "held out, never trained on")] if inputs.held_out else []),
        *checkpoints,
        *(TableColumn(id, each.name, "external", "from elsewhere, no seed") for id, each in external.items()),
    ]
    samples = {(r["checkpoint"], int(r["prompt_index"]), int(r["seed"])): r for r in inputs.sampled.rows}

    def cell(column: TableColumn, place: int, index: int, prompt: str) -> Cell:
        if column.kind == "real":
            return _held_out_cell(inputs, place, len(prompts), len(seeds))
        if column.kind == "external":
            return _external_cell(external[column.id], index, prompt)
        return tuple(_sample(inputs, samples.get((column.id, index, seed)), column, seed) for seed in seeds)

    cells = tuple(
        tuple(cell(column, place, index, prompt) for column in columns)
        for place, (index, prompt) in enumerate(prompts.items())
    )
    return SamplesTable(inputs.species, inputs.name, tuple(columns), tuple(prompts.values()), seeds, cells)


def _checkpoint_columns(inputs: TableInputs) -> list[TableColumn]:
    """The base and every snapshot, sampled or not, by step."""
    steps = dict(inputs.snapshots) | {row["checkpoint"]: int(row["step"]) for row in inputs.sampled.rows}
    measured, primary = inputs.metrics.get("steps", {}), inputs.metrics.get("primary", "")
    spec = inputs.specs.get(primary) or unregistered(primary)
    columns = []
    for label, step in sorted(steps.items(), key=lambda item: (item[1], item[0])):
        values = measured.get(str(step), {})
        note = f"{spec.label} {shown(spec, values[primary]['value'])}" if primary in values else ""
        chosen = label == inputs.metrics.get("chosen_checkpoint")
        name, kind = (f"step {step}", "step") if step else ("base", "base")
        columns.append(TableColumn(label, name, kind, note, step, chosen))
    return columns


def _held_out_cell(inputs: TableInputs, place: int, n_prompts: int, n_seeds: int) -> Cell:
    """Held-out pictures have no prompt: they are dealt out over the rows, again from the start when they end.

    With enough of them no two of the table are the same.
    """
    held_out = inputs.held_out
    stride = n_prompts if len(held_out) >= n_prompts * n_seeds else 1
    cell = []
    for number in range(n_seeds):
        credit, picture = held_out[(place + number * stride) % len(held_out)]
        facts = (("caption", credit["caption"]), ("author", credit["author"]), ("licence", credit["licence"]))
        alt = f"{inputs.name}, held-out picture: {credit['caption']}"
        cell.append(TableImage(**picture, alt=alt, label="held out", facts=facts, credit=credit))
    return tuple(cell)


def _external_cell(external: ExternalPictures, index: int, prompt: str) -> Cell:
    pictures = external.pictures.get(index, ())
    if not pictures:
        return (Gap(external.reasons.get(index) or external.reason),)
    facts = (("made by", external.name), ("prompt", prompt), ("seed", "unknown"))
    labels = [f"picture {number}" if len(pictures) > 1 else "" for number in range(1, len(pictures) + 1)]
    return tuple(
        TableImage(**picture, alt=f"{prompt}, by {external.name}", label=label, facts=facts)
        for picture, label in zip(pictures, labels, strict=True)
    )


def _sample(inputs: TableInputs, row: Mapping[str, Any] | None, column: TableColumn, seed: int) -> TableImage | Gap:
    if row is None:
        return Gap(f"no sample of {column.label} with seed {seed}")
    sampled = inputs.sampled
    scores = image_scores(sampled.scores.get(row["file_name"], {}), inputs.specs, inputs.credits)
    settings = {
        "prompt": row["prompt"],
        "negative": row["negative_prompt"],
        "seed": row["seed"],
        "sampler": row["sampler"],
        "steps": row["steps"],
        "guidance": f"{row['guidance_scale']:g}",
        "size": f"{row['width_px']} × {row['height_px']} px",
    }
    return TableImage(
        **sampled.pictures[row["file_name"]],
        alt=f"{row['prompt']}, {column.label}, seed {seed}",
        label=f"seed {seed}",
        facts=(*((name, str(value)) for name, value in settings.items() if value != ""), *scores.facts),
        score=scores.in_table,
        hit=scores.hit,
        hit_title=scores.hit_title,
        rank=scores.rank,
        parameters=sampled.parameters.get(row["file_name"], ""),
        command=generate_command(inputs.species, row, chosen=column.chosen),
        nearest=scores.nearest,
    )
