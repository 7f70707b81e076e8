"""Which snapshot of a trained model is meant where no step is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.paths import Paths
from pipeline.io.files import atomic_write


def chosen_step(card: Mapping[str, Any], paths: Paths) -> tuple[int, str]:
    """The step that the evaluation chose, else the last one, and in words which of these; `card` is the model's."""
    steps = [snapshot["step"] for snapshot in card["snapshots"]]
    chosen = _evaluated_step(card, paths)
    if chosen is not None and chosen in steps:
        return chosen, f"step {chosen}, which the evaluation chose"
    return steps[-1], f"step {steps[-1]}, the last one, since this model is not evaluated"


def _evaluated_step(card: Mapping[str, Any], paths: Paths) -> int | None:
    """The step that the evaluation chose; None when there is none, or it is of another training."""
    metrics, details = paths.evaluation / "metrics.json", paths.evaluation / "details"
    if not metrics.is_file():
        return None
    if (details / atomic_write.CARD).is_file() and atomic_write.read_card(details)["lineage_id"] != card["lineage_id"]:
        return None
    step: int = atomic_write.read_json(metrics, {"chosen_step": int})["chosen_step"]
    return step
