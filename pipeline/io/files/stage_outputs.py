"""What the stages have left behind for a species, each part there or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import InputError
from pipeline.core.paths import Paths
from pipeline.io.files import atomic_write, parquet


@dataclass(frozen=True)
class Curated:
    card: dict[str, Any]
    kept: pd.DataFrame
    verdicts: pd.DataFrame


@dataclass(frozen=True)
class Model:
    card: dict[str, Any]
    losses: pd.DataFrame


@dataclass(frozen=True)
class Samples:
    card: dict[str, Any]
    rows: pd.DataFrame


@dataclass(frozen=True)
class Evaluation:
    """`metrics`: what metrics.json and verdict.json say together."""

    card: dict[str, Any]
    metrics: dict[str, Any]
    rows: pd.DataFrame


@dataclass(frozen=True)
class Results:
    """None: the stage has not run, or has not come to its end."""

    curated: Curated | None = None
    validation: dict[str, Any] | None = None
    model: Model | None = None
    samples: Samples | None = None
    evaluation: Evaluation | None = None


def results(paths: Paths) -> Results:
    """Read what is there; a folder whose card is missing is half-written and counts as not there.

    Raises
    ------
    InputError
        When a finished folder lacks one of its files.
    """
    return Results(
        _finished(paths.curated, _curated),
        _finished(paths.validation, lambda folder: atomic_write.read_json(folder / "verdict.json")),
        _finished(paths.model, _model),
        _finished(
            paths.samples,
            lambda folder: Samples(atomic_write.read_card(folder), parquet.read(folder / "samples.parquet")),
        ),
        _finished(paths.evaluation / "details", _evaluation),
    )


def _finished(folder: Path, read: Callable[[Path], Any]) -> Any:
    return read(folder) if (folder / atomic_write.CARD).is_file() else None


def _curated(folder: Path) -> Curated:
    kept, verdicts = (parquet.read(folder / f"{name}.parquet") for name in ("metadata", "verdicts"))
    return Curated(atomic_write.read_card(folder), kept, verdicts)


def _model(folder: Path) -> Model:
    return Model(atomic_write.read_card(folder), _csv(folder / "train.csv"))


def _evaluation(folder: Path) -> Evaluation:
    return Evaluation(
        atomic_write.read_card(folder), metrics(folder.parent), parquet.read(folder / "per_image.parquet")
    )


def metrics(evaluation: Path) -> dict[str, Any]:
    """What metrics.json and verdict.json of `reports/evaluation/<species>` say together."""
    return atomic_write.read_json(evaluation / "details/verdict.json") | atomic_write.read_json(
        evaluation / "metrics.json"
    )


def _csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (FileNotFoundError, pd.errors.EmptyDataError):
        raise InputError(f"{path} is missing or empty; run the training that writes it again") from None
