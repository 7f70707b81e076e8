"""Which snapshot to keep, and the sentence that says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.core.records import Score
from pipeline.metrics import METRICS

FALLBACK = "clip_i"  # when the primary metric cannot be measured
Scores = Mapping[int, Mapping[str, Score]]  # by step (0 is the base model), then by metric; unmeasured ones are absent


@dataclass(frozen=True)
class Choice:
    """The chosen step, by which metric, why, and whether it is better than the base model at all."""

    step: int
    primary: str
    reason: str
    better_than_base: bool


def choose(scores: Scores, primary: str, tie_margin: float, missing: Mapping[str, str]) -> Choice:
    """The snapshot with the best primary metric; among those within `tie_margin` of it, the one with fewest steps."""
    used = primary if primary in scores[0] else FALLBACK
    values = {step: by_metric[used].value for step, by_metric in sorted(scores.items())}
    snapshots = {step: value for step, value in values.items() if step}
    best = max(snapshots.values())
    chosen = next(step for step, value in snapshots.items() if value >= best - tie_margin)
    better = values[chosen] > values[0]
    sentences = [_headline(scores, chosen, used), *_others(scores, chosen, used, tie_margin)]
    if not better:
        sentences.append("no step is better than the base model: look at the pictures before you use it")
    if used != primary:
        sentences.append(f"chosen by {METRICS[used].title}, as {METRICS[primary].title} is unknown: {missing[primary]}")
    return Choice(chosen, used, "; ".join(sentences), better)


def _headline(scores: Scores, chosen: int, used: str) -> str:
    base = METRICS[used].text(scores[0][used].value)
    return f"step {chosen}: {METRICS[used].title} {with_interval(scores[chosen][used])} against {base} for the base"


def _others(scores: Scores, chosen: int, used: str, tie_margin: float) -> list[str]:
    """A phrase for each other snapshot."""
    best = scores[chosen][used].value
    phrases = []
    for step in sorted(step for step in scores if step not in (0, chosen)):
        value = scores[step][used].value
        text = METRICS[used].text(value)
        if step < chosen:
            phrases.append(f"step {step} reaches {text}")
        elif value > best:
            phrases.append(f"step {step} is better by no more than the tie margin of {tie_margin:g} ({text})")
        else:
            phrases.append(f"step {step} is no better ({text})")
    return phrases


def with_interval(score: Score) -> str:
    """`92 % [84, 98]` or `0.873 [0.851, 0.892]`."""
    metric = METRICS[score.metric]
    low, high = (metric.text(bound).removesuffix(" %") for bound in score.interval)
    return f"{metric.text(score.value)} [{low}, {high}]"
