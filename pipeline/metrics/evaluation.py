"""All metrics of all checkpoints, and what is written down about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.params import Evaluate
from pipeline.core.records import Score
from pipeline.metrics import METRICS, gain, real_values, score
from pipeline.metrics.choice import Choice, Scores, choose, with_interval
from pipeline.metrics.embedded import EmbeddedSamples, Reference
from pipeline.metrics.nearest_train import nearest, threshold
from pipeline.metrics.species_accuracy import nearest_species

DIGITS = 6  # the last bits of a float differ between machines
SHOWN = ("species_accuracy", "clip_i", "clip_t", "diversity", "memorised")
IMAGE_COLUMNS = ["file_name", "checkpoint", "step", "prompt_index", "prompt", "seed"]


@dataclass(frozen=True)
class EvaluationResult:
    """Scores by step and metric, for each metric that could not be measured the reason, and the choice."""

    reference: Reference
    scores: Scores
    missing: Mapping[str, str]
    real: Mapping[str, float]
    choice: Choice
    gain: Score


def measure(
    by_step: Mapping[int, EmbeddedSamples], reference: Reference, params: Evaluate, seed: int
) -> EvaluationResult:
    """Measure each checkpoint's samples (0 is the base model) and choose one."""
    drawn = {"resamples": params.bootstrap_resamples, "seed": seed}
    found = {step: {name: score(name, each, reference, **drawn) for name in METRICS} for step, each in by_step.items()}
    scores = {step: {k: v for k, v in by.items() if isinstance(v, Score)} for step, by in found.items()}
    missing = {name: value for by in found.values() for name, value in by.items() if isinstance(value, str)}
    choice = choose(scores, params.primary, params.tie_margin, missing)
    gained = gain(choice.primary, by_step[choice.step], by_step[0], reference, **drawn)
    return EvaluationResult(reference, scores, missing, real_values(reference), choice, gained)


def per_image(table: pd.DataFrame, samples: EmbeddedSamples, reference: Reference) -> pd.DataFrame:
    """`per_image.parquet`: one row a sample, in the order of samples.parquet."""
    index, cosine = nearest(samples.rows, reference)
    compared = reference.can_compare
    species = nearest_species(samples.rows, reference) if compared else np.full(len(table), "")
    return table[IMAGE_COLUMNS].assign(
        clip_t=METRICS["clip_t"].measure(samples, reference).values.round(DIGITS),
        clip_i=METRICS["clip_i"].measure(samples, reference).values.round(DIGITS),
        species_hit=species == reference.species if compared else None,
        nearest_species=species,
        nearest_train=[reference.train_names[i] for i in index],
        nearest_train_cosine=cosine.round(DIGITS),
        memorised=cosine > threshold(reference),
    )


def summary(found: EvaluationResult) -> dict[str, Any]:
    """`metrics.json`, what `dvc metrics show` prints; a metric that could not be measured is null."""
    plain = {
        step: {name: by[name].value if name in by else None for name in METRICS} for step, by in found.scores.items()
    }
    return {"chosen_step": found.choice.step, "base": _rounded(plain[0]), "chosen": _rounded(plain[found.choice.step])}


def verdict(found: EvaluationResult, images: pd.DataFrame) -> dict[str, Any]:
    """`verdict.json`: the choice and all that led to it, the gain over the base, the pictures that look copied."""
    copied = images[(images["step"] == found.choice.step) & images["memorised"]]
    return {
        "species": found.reference.species,
        **asdict(found.choice),
        "chosen_checkpoint": _label(found.choice.step),
        "steps": {str(step): {name: _entry(by.get(name)) for name in METRICS} for step, by in found.scores.items()},
        "real": _rounded(found.real),
        "missing": dict(found.missing),
        "gain": _entry(found.gain),
        "compared_with": [name for name in found.reference.holdout if name != found.reference.species],
        "memorised_above": round(threshold(found.reference), DIGITS),
        "memorised": copied["file_name"].tolist(),
    }


def lines(found: EvaluationResult) -> list[str]:
    """For people: the reason, then base -> chosen for each metric, and what real pictures reach."""
    measured = [_line(name, found) for name in SHOWN if name not in found.missing]
    unknown = [f"  {METRICS[name].title:18} unknown: {reason}" for name, reason in found.missing.items()]
    return [f"{found.reference.species}: {found.choice.reason}", *measured, *unknown]


def _line(name: str, found: EvaluationResult) -> str:
    metric, base, chosen = METRICS[name], found.scores[0][name], found.scores[found.choice.step][name]
    real = f" (real pictures: {metric.text(found.real[name])})" if name in found.real else ""
    return f"  {metric.title:18} {metric.text(base.value):>6} -> {with_interval(chosen)}{real}"


def _entry(found: Score | None) -> dict[str, Any]:
    low, high = found.interval if found else (None, None)
    return _rounded({"value": found and found.value, "low": low, "high": high}) | {"n": found.n if found else 0}


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, DIGITS) for name, value in values.items()}


def _label(step: int) -> str:
    return f"step-{step:06d}" if step else "base"
