"""The evaluation of a training: all metrics of all checkpoints, the chosen step, and the tables that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from pipeline.core.params import Evaluate
from pipeline.core.records import Score
from pipeline.metrics.checkpoint_choice import Choice, Scores, choose, with_interval
from pipeline.metrics.inputs import EmbeddedSamples, Reference
from pipeline.metrics.metric import Metric
from pipeline.metrics.scores import gain, missing_input, score

DIGITS = 6  # the last bits of a float differ between machines
IMAGE_COLUMNS = ["file_name", "checkpoint", "step", "prompt_index", "prompt", "seed"]
Metrics = Mapping[str, Metric]  # by name, in the order of reports


@dataclass(frozen=True)
class Evaluation:
    """Scores by step and metric, for each metric that could not be measured the reason, and the choice."""

    metrics: Metrics
    reference: Reference
    scores: Scores
    missing: Mapping[str, str]
    real: Mapping[str, float]
    choice: Choice
    gain: Score


def measure(
    metrics: Metrics, by_step: Mapping[int, EmbeddedSamples], reference: Reference, params: Evaluate, seed: int
) -> Evaluation:
    """Measure each checkpoint's samples (0 is the base model) and choose one."""
    resampling = {"resamples": params.bootstrap_resamples, "seed": seed}
    scores: dict[int, dict[str, Score]] = {step: {} for step in by_step}
    missing: dict[str, str] = {}
    for step, samples in by_step.items():
        for name, metric in metrics.items():
            if reason := missing_input(metric, samples, reference):
                missing[name] = reason
            else:
                scores[step][name] = score(metric, samples, reference, **resampling)
    specs = {name: metric.spec for name, metric in metrics.items()}
    choice = choose(scores, params.primary, params.tie_margin, specs, missing)
    gained = gain(metrics[choice.primary], by_step[choice.step], by_step[0], reference, **resampling)
    return Evaluation(metrics, reference, scores, missing, real_values(metrics, reference), choice, gained)


def real_values(metrics: Metrics, reference: Reference) -> dict[str, float]:
    """What the held-out pictures themselves reach, for every metric that has such values."""
    measured = {name: metric.real(reference) for name, metric in metrics.items()}
    return {name: float(values.mean()) for name, values in measured.items() if len(values)}


def per_image(metrics: Metrics, table: pd.DataFrame, samples: EmbeddedSamples, reference: Reference) -> pd.DataFrame:
    """`per_image.parquet`: one row per sample, in the order of samples.parquet."""
    columns = {name: c for metric in metrics.values() for name, c in metric.columns(samples, reference).items()}
    return table[IMAGE_COLUMNS].assign(**columns).round(DIGITS)


def summary(found: Evaluation) -> dict[str, Any]:
    """`metrics.json`, what `dvc metrics show` prints; a metric that could not be measured is null."""
    values = {
        step: _rounded({name: by_metric[name].value if name in by_metric else None for name in found.metrics})
        for step, by_metric in found.scores.items()
    }
    return {"chosen_step": found.choice.step, "base": values[0], "chosen": values[found.choice.step]}


def verdict(found: Evaluation, images: pd.DataFrame) -> dict[str, Any]:
    """`verdict.json`: the choice and all that led to it, the gain over the base, and what the metrics add."""
    step, of_chosen = found.choice.step, images[images["step"] == found.choice.step]
    details = [metric.details(of_chosen, found.reference) for metric in found.metrics.values()]
    return {
        "species": found.reference.species,
        **asdict(found.choice),
        "chosen_checkpoint": f"step-{step:06d}" if step else "base",
        "steps": {
            str(step): {name: _entry(by_metric.get(name)) for name in found.metrics}
            for step, by_metric in found.scores.items()
        },
        "real": _rounded(found.real),
        "missing": dict(found.missing),
        "gain": _entry(found.gain),
        "compared_with": list(found.reference.other_species),
        **{name: value for entries in details for name, value in _rounded(entries).items()},
    }


def lines(found: Evaluation) -> list[str]:
    """For people: the reason, then base -> chosen for each metric, and what real pictures reach."""
    reported = [name for name, metric in found.metrics.items() if metric.spec.in_report and name not in found.missing]
    unknown = [f"  {found.metrics[name].spec.title:18} unknown: {reason}" for name, reason in found.missing.items()]
    return [f"{found.reference.species}: {found.choice.reason}", *(_line(name, found) for name in reported), *unknown]


def _line(name: str, found: Evaluation) -> str:
    spec, base, chosen = found.metrics[name].spec, found.scores[0][name], found.scores[found.choice.step][name]
    real = f" (real pictures: {spec.text(found.real[name])})" if name in found.real else ""
    return f"  {spec.title:18} {spec.text(base.value):>6} -> {with_interval(chosen, spec)}{real}"


def _entry(found: Score | None) -> dict[str, Any]:
    if found is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = found.interval or (None, None)
    return _rounded({"value": found.value, "low": low, "high": high}) | {"n": found.n}


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, DIGITS) if isinstance(value, float) else value for name, value in values.items()}
