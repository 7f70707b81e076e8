"""The contract of a metric, and the usual implementation: a spec and a few functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from pipeline.core.metric_spec import MetricSpec
from pipeline.metrics.inputs import EmbeddedSamples, Reference


@dataclass(frozen=True)
class Measurement:
    """Values (m,) with the prompt (m,) that each belongs to."""

    values: np.ndarray
    clusters: np.ndarray


class Metric(Protocol):
    """What evaluation calls; it calls `measure` only when every input of `spec.needs` is there."""

    @property
    def spec(self) -> MetricSpec: ...

    def measure(self, samples: EmbeddedSamples, reference: Reference, /) -> Measurement:
        """The values of one checkpoint's pictures, or of their pairs."""
        ...

    def real(self, reference: Reference, /) -> np.ndarray:
        """The same of the held-out pictures themselves, what a perfect model would reach: (m,), or (0,) for none."""
        ...

    def columns(self, samples: EmbeddedSamples, reference: Reference, /) -> Mapping[str, Any]:
        """Columns (n,) of `per_image.parquet`, those of `spec.columns`; also when the metric cannot be measured."""
        ...

    def details(self, images: pd.DataFrame, reference: Reference, /) -> Mapping[str, Any]:
        """Further entries of `verdict.json`; `images` are the rows of the chosen step in `per_image.parquet`."""
        ...


def _nothing(*_: object) -> Mapping[str, Any]:
    return {}


def _no_values(_: Reference) -> np.ndarray:
    return np.zeros(0)


@dataclass(frozen=True)
class FunctionMetric:
    """A metric made of functions; what is not given is empty."""

    spec: MetricSpec
    measure: Callable[[EmbeddedSamples, Reference], Measurement]
    real: Callable[[Reference], np.ndarray] = _no_values
    columns: Callable[[EmbeddedSamples, Reference], Mapping[str, Any]] = _nothing
    details: Callable[[pd.DataFrame, Reference], Mapping[str, Any]] = _nothing
