"""The outputs of finished stages, read back: tables, cards and pictures of one species, each part there or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from pipeline.core import stored_json
from pipeline.core.errors import InputError
from pipeline.core.paths import Paths
from pipeline.core.records import Rejection
from pipeline.io.files import atomic_write, parquet
from pipeline.io.images import codecs

VALIDATION_KEYS: stored_json.Keys = {"success": bool, "dataset_digest": str, "expectations": list}
EVALUATION_KEYS: stored_json.Keys = {"step": int, "steps": dict, "primary": str}
METRICS_KEYS: stored_json.Keys = {"chosen_step": int, "base": dict, "chosen": dict}
MAX_PIXELS = 200_000_000  # of a picture that a stage has written; what came from outside was checked against params


@dataclass(frozen=True)
class CuratedOutput:
    card: dict[str, Any]
    kept: pd.DataFrame
    verdicts: pd.DataFrame


@dataclass(frozen=True)
class TrainOutput:
    """`held_out`: a row for each monitored step; none where monitoring was off. `previews`: files by their step."""

    card: dict[str, Any]
    losses: pd.DataFrame
    held_out: pd.DataFrame
    previews: dict[int, list[Path]]


@dataclass(frozen=True)
class SampleOutput:
    card: dict[str, Any]
    rows: pd.DataFrame


@dataclass(frozen=True)
class EvaluateOutput:
    """`metrics`: what metrics.json and verdict.json say together."""

    card: dict[str, Any]
    metrics: dict[str, Any]
    rows: pd.DataFrame


@dataclass(frozen=True)
class StageOutputs:
    """None: the stage has not run, or has not come to its end."""

    curated: CuratedOutput | None = None
    validation: dict[str, Any] | None = None
    model: TrainOutput | None = None
    samples: SampleOutput | None = None
    evaluation: EvaluateOutput | None = None


def read(paths: Paths) -> StageOutputs:
    """Read what is there; a folder whose card is missing is half-written and counts as not there.

    Raises
    ------
    InputError
        When a finished folder lacks one of its files.
    """
    return StageOutputs(
        _finished(paths.curated, _curated),
        _finished(paths.validation, lambda folder: atomic_write.read_json(folder / "verdict.json", VALIDATION_KEYS)),
        _finished(paths.model, _trained),
        _finished(
            paths.samples,
            lambda folder: SampleOutput(atomic_write.read_card(folder), parquet.read(folder / "samples.parquet")),
        ),
        _finished(paths.evaluation / "details", _evaluation),
    )


def metrics(evaluation: Path) -> dict[str, Any]:
    """What metrics.json and verdict.json of `reports/evaluation/<species>` say together."""
    verdict: dict[str, Any] = atomic_write.read_json(evaluation / "details/verdict.json", EVALUATION_KEYS)
    return verdict | atomic_write.read_json(evaluation / "metrics.json", METRICS_KEYS)


def picture(path: Path) -> Image.Image:
    """A picture that a stage has written; InputError when it is missing or damaged."""
    try:
        image = codecs.decode(path.read_bytes(), MAX_PIXELS)
    except FileNotFoundError:
        raise InputError(f"{path} is missing, though its table names it; run the stage that writes it again") from None
    if isinstance(image, Rejection):
        raise InputError(f"{path} cannot be read: {image.sentence}")
    return image


def _finished(folder: Path, read_folder: Callable[[Path], Any]) -> Any:
    return read_folder(folder) if (folder / atomic_write.CARD).is_file() else None


def _curated(folder: Path) -> CuratedOutput:
    kept, verdicts = (parquet.read(folder / f"{name}.parquet") for name in ("metadata", "verdicts"))
    return CuratedOutput(atomic_write.read_card(folder), kept, verdicts)


def _trained(folder: Path) -> TrainOutput:
    held_out = folder / "held_out_mean.csv"
    return TrainOutput(
        atomic_write.read_card(folder),
        _csv(folder / "train.csv"),
        _csv(held_out) if held_out.is_file() else pd.DataFrame({"step": [], "loss": [], "relative": []}),
        {int(of_step.name.removeprefix("step-")): sorted(of_step.iterdir()) for of_step in _preview_folders(folder)},
    )


def _preview_folders(folder: Path) -> list[Path]:
    return sorted(each for each in (folder / "previews").glob("step-*") if each.name.removeprefix("step-").isdigit())


def _evaluation(folder: Path) -> EvaluateOutput:
    return EvaluateOutput(
        atomic_write.read_card(folder), metrics(folder.parent), parquet.read(folder / "per_image.parquet")
    )


def _csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (FileNotFoundError, pd.errors.EmptyDataError):
        raise InputError(f"{path} is missing or empty; run the training that writes it again") from None
    except (pd.errors.ParserError, OSError, ValueError) as error:
        why = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is damaged ({why}); {stored_json.remedy(path)}") from None
