"""Checkpoint selection: which snapshot to keep, and the sentence that says why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.core.metric_spec import MetricSpec
from pipeline.core.records import Score

Scores = Mapping[int, Mapping[str, Score]]  # by step (0 is the base model), then by metric; unmeasured ones are absent


@dataclass(frozen=True)
class Choice:
    """The chosen step, by which metric, why, and whether it is better than the base model at all."""

    step: int
    primary: str
    reason: str
    better_than_base: bool


def choose(
    scores: Scores, primary: str, tie_margin: float, specs: Mapping[str, MetricSpec], missing: Mapping[str, str]
) -> Choice:
    """The snapshot with the best primary metric; among those within `tie_margin` of it, the one with fewest steps.

    Where the primary metric cannot be measured (`missing` has the reasons), the first of `specs` that can be decides.
    """
    used = specs[primary if primary in scores[0] else next(name for name in specs if name in scores[0])]
    oriented = {step: used.oriented(by_metric[used.name].value) for step, by_metric in sorted(scores.items())}
    best = max(value for step, value in oriented.items() if step)
    chosen = next(step for step, value in oriented.items() if step and value >= best - tie_margin)
    better_than_base = oriented[chosen] > oriented[0]
    base = used.text(scores[0][used.name].value)
    sentences = [
        f"step {chosen}: {used.title} {with_interval(scores[chosen][used.name], used)} against {base} for the base",
        *_comparisons(scores, chosen, used, tie_margin),
    ]
    if not better_than_base:
        sentences.append("no step is better than the base model: look at the pictures before you use it")
    if used.name != primary:
        sentences.append(f"chosen by {used.title}, as {specs[primary].title} is unknown: {missing[primary]}")
    return Choice(chosen, used.name, "; ".join(sentences), better_than_base)


def _comparisons(scores: Scores, chosen: int, spec: MetricSpec, tie_margin: float) -> Iterator[str]:
    """A phrase for each other snapshot."""
    for step in sorted(step for step in scores if step not in (0, chosen)):
        value, of_chosen = scores[step][spec.name].value, scores[chosen][spec.name].value
        if step < chosen:
            yield f"step {step} reaches {spec.text(value)}"
        elif spec.oriented(value) > spec.oriented(of_chosen):
            yield f"step {step} is better by no more than the tie margin of {tie_margin:g} ({spec.text(value)})"
        else:
            yield f"step {step} is no better ({spec.text(value)})"


def with_interval(score: Score, spec: MetricSpec) -> str:
    """`92 % [84, 98]` or `0.873 [0.851, 0.892]`."""
    if score.interval is None:
        return spec.text(score.value)
    low, high = (spec.text(bound).removesuffix(" %") for bound in score.interval)
    return f"{spec.text(score.value)} [{low}, {high}]"
