"""The table of a species: prompts down, checkpoints across, the same seeds in every column.

A cell is a list of shots, one for each seed: a picture with all that is known of it, or a gap with its reason.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.pages.charts import metric

REAL = "real"


@dataclass(frozen=True)
class Column:
    """`kind` is real, base, step or external; `note` is the small line below the label."""

    id: str
    label: str
    kind: str
    note: str = ""
    step: int = -1
    chosen: bool = False


@dataclass(frozen=True)
class Shot:
    """A picture as the table and the viewer show it; `facts` are (name, value) pairs of the info panel."""

    src: str
    thumb: str
    width_px: int
    height_px: int
    alt: str
    label: str
    facts: tuple[tuple[str, str], ...] = ()
    score: str = ""
    hit: bool | None = None
    rank: float = 0.0
    parameters: str = ""
    command: str = ""
    nearest: Mapping[str, str] | None = None
    credit: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Gap:
    """A cell's place without a picture."""

    reason: str


@dataclass(frozen=True)
class Outside:
    """A column of pictures from elsewhere: {prompt index: pictures} and {prompt index: why there is none}."""

    name: str
    pictures: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Suite:
    """The whole table; `cells[row][column]` is a list of Shot and Gap, one for each seed."""

    species: str
    name: str
    columns: tuple[Column, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: tuple[tuple[tuple[Shot | Gap, ...], ...], ...]

    def plain(self) -> dict[str, Any]:
        """As JSON for the viewer."""
        first = next((index for index, column in enumerate(self.columns) if column.kind == "base"), 0)
        return {**asdict(self), "pin": self.columns[first].id if self.columns else ""}


@dataclass(frozen=True)
class Sampled:
    """What was sampled and measured: rows of samples.parquet, and by file name its picture, text and scores."""

    rows: Sequence[Mapping[str, Any]]
    pictures: Mapping[str, Mapping[str, Any]]
    parameters: Mapping[str, str]
    scores: Mapping[str, Mapping[str, Any]]


def prompts_of(rows: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """{index: prompt} in the order of params."""
    return dict(sorted({int(row["prompt_index"]): row["prompt"] for row in rows}.items()))


def suite(
    species: str,
    name: str,
    sampled: Sampled,
    *,
    snapshots: Sequence[tuple[str, int]],
    held_out: Sequence[tuple[Mapping[str, str], Mapping[str, Any]]],
    outside: Sequence[Outside],
    credits: Mapping[str, Mapping[str, str]],
    metrics: Mapping[str, Any],
) -> Suite:
    """Join everything into the table; `held_out` are (credit, picture), `credits` are by file name."""
    prompts = prompts_of(sampled.rows)
    seeds = tuple(sorted({int(row["seed"]) for row in sampled.rows}))
    columns = _columns(sampled.rows, snapshots, bool(held_out), outside, metrics)
    cell = _Cells(name, sampled, seeds, held_out, {o.name: o for o in outside}, credits, _commands(species, metrics))
    cells = tuple(
        tuple(tuple(cell.of(column, place, index, prompt)) for column in columns)
        for place, (index, prompt) in enumerate(prompts.items())
    )
    return Suite(species, name, columns, tuple(prompts.values()), seeds, cells)


def _columns(rows, snapshots, real: bool, outside, metrics: Mapping[str, Any]) -> tuple[Column, ...]:
    steps = dict(snapshots) | {row["checkpoint"]: int(row["step"]) for row in rows}
    chosen, measured = metrics.get("chosen_checkpoint"), metrics.get("steps", {})
    ordered = sorted(steps.items(), key=lambda item: (item[1], item[0]))
    primary = metrics.get("primary", "")
    checkpoints = [
        _checkpoint(label, step, label == chosen, measured.get(str(step), {}), primary) for label, step in ordered
    ]
    first = [Column(REAL, "real", "real", "held out, never trained on")] if real else []
    return (
        *first,
        *checkpoints,
        *(Column(f"x-{o.name}", o.name, "external", "from elsewhere, no seed") for o in outside),
    )


def _checkpoint(label: str, step: int, chosen: bool, values: Mapping[str, Any], primary: str) -> Column:
    note = f"{metric(primary).short} {metric(primary).text(values[primary]['value'])}" if primary in values else ""
    return Column(label, f"step {step}" if step else "base", "step" if step else "base", note, step, chosen)


def _commands(species: str, metrics: Mapping[str, Any]):
    """How to draw a sample again: the champion draws the chosen step's, the stage draws all."""

    def command(row: Mapping[str, Any]) -> str:
        if row["checkpoint"] != metrics.get("chosen_checkpoint"):
            return f"dvc repro --force --single-item sample@{species}"
        options = {
            "--seed": row["seed"],
            "--steps": row["steps"],
            "--guidance": f"{row['guidance_scale']:g}",
            "--sampler": row["sampler"],
        }
        words = ["paleo", "generate", species, row["prompt"], *(str(word) for pair in options.items() for word in pair)]
        return shlex.join(words)

    return command


@dataclass(frozen=True)
class _Cells:
    """Fills cells; one method for each kind of column."""

    name: str
    sampled: Sampled
    seeds: tuple[int, ...]
    held_out: Sequence[tuple[Mapping[str, str], Mapping[str, Any]]]
    outside: Mapping[str, Outside]
    credits: Mapping[str, Mapping[str, str]]
    command: Any

    def of(self, column: Column, place: int, index: int, prompt: str) -> list[Shot | Gap]:
        if column.kind == "real":
            return [self._real(place + number * self._stride()) for number in range(len(self.seeds))]
        if column.kind == "external":
            return self._external(self.outside[column.label], index, prompt)
        rows = {
            int(row["seed"]): row
            for row in self.sampled.rows
            if (row["checkpoint"], row["prompt_index"]) == (column.id, index)
        }
        return [self._sample(rows.get(seed), column, seed) for seed in self.seeds]

    def _stride(self) -> int:
        """From one held-out picture of a cell to the next: with enough of them no two of the table are the same."""
        prompts = len(prompts_of(self.sampled.rows))
        return prompts if len(self.held_out) >= prompts * len(self.seeds) else 1

    def _real(self, number: int) -> Shot:
        """Held-out pictures have no prompt: they are dealt out over the rows, again from the start when they end."""
        credit, picture = self.held_out[number % len(self.held_out)]
        facts = (("caption", credit["caption"]), ("author", credit["author"]), ("licence", credit["licence"]))
        return Shot(
            **picture,
            alt=f"{self.name}, held-out picture: {credit['caption']}",
            label="held out",
            facts=facts,
            credit=credit,
        )

    def _external(self, outside: Outside, index: int, prompt: str) -> list[Shot | Gap]:
        pictures = outside.pictures.get(index, ())
        if not pictures:
            return [Gap(outside.reasons.get(index) or outside.reason)]
        facts = (("made by", outside.name), ("prompt", prompt), ("seed", "unknown"))
        alt, several = f"{prompt}, by {outside.name}", len(pictures) > 1
        labels = [f"picture {number}" if several else "" for number in range(1, len(pictures) + 1)]
        return [Shot(**picture, alt=alt, label=label, facts=facts) for picture, label in zip(pictures, labels)]

    def _sample(self, row: Mapping[str, Any] | None, column: Column, seed: int) -> Shot | Gap:
        if row is None:
            return Gap(f"no sample of {column.label} with seed {seed}")
        scores = self.sampled.scores.get(row["file_name"], {})
        return Shot(
            **self.sampled.pictures[row["file_name"]],
            alt=f"{row['prompt']}, {column.label}, seed {seed}",
            label=f"seed {seed}",
            facts=_facts(row) + _score_facts(scores),
            score=_score(scores),
            hit=scores.get("species_hit"),
            rank=scores.get("clip_i", 0.0) + bool(scores.get("species_hit")),
            parameters=self.sampled.parameters.get(row["file_name"], ""),
            command=self.command(row),
            nearest=self._nearest(scores),
        )

    def _nearest(self, scores: Mapping[str, Any]) -> dict[str, str] | None:
        credit = self.credits.get(scores.get("nearest_train", ""))
        return {**credit, "cosine": metric("nearest_train").text(scores["nearest_train_cosine"])} if credit else None


def _facts(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    facts = {
        "prompt": row["prompt"],
        "negative": row["negative_prompt"],
        "seed": row["seed"],
        "sampler": row["sampler"],
        "steps": row["steps"],
        "guidance": f"{row['guidance_scale']:g}",
        "size": f"{row['width_px']} × {row['height_px']} px",
    }
    return tuple((name, str(value)) for name, value in facts.items() if value != "")


def _score(scores: Mapping[str, Any]) -> str:
    """The line below a picture of the table."""
    if not scores:
        return ""
    return f"CLIP-I {metric('clip_i').text(scores['clip_i'])}" + (", looks copied" if scores.get("memorised") else "")


def _score_facts(scores: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if not scores:
        return ()
    named = [(metric(key).title, metric(key).text(scores[key])) for key in ("clip_i", "clip_t")]
    nearest = (("nearest to", scores["nearest_species"]),) if scores["nearest_species"] else ()
    copied = (
        (("looks copied", "nearer to a training picture than held-out ones are"),) if scores.get("memorised") else ()
    )
    return (*named, *nearest, *copied)
