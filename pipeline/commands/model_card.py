"""The model card of an export: what the stages have left of its step, as README.md, CREDITS.csv and pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.metric_spec import MetricSpec
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.exporting.file_metadata import ExportedModel
from pipeline.exporting.model_card import CardContent, model_card
from pipeline.io.files import atomic_write, export_files, parquet, stage_outputs
from pipeline.metrics import all_specs
from pipeline.registry.release import credits_csv

MAX_PICTURES = 6
LICENCE_KEYS = ("license", "license_name", "license_link")


def write_card(
    folder: Path, model: ExportedModel, params: Params, paths: Paths, *, adapters: bool, load: Sequence[str]
) -> None:
    """Write the card of an export into `folder`; `load` are the lines that say how its files are loaded."""
    card, step = atomic_write.read_card(paths.model), int(model.metadata["step"])
    curated, lineage = paths.curated, {"lineage_id": card["lineage_id"]}
    has_pictures = _says(curated, {"digest": card["dataset_digest"]})
    kept = parquet.read(curated / "metadata.parquet") if has_pictures else pd.DataFrame({"licence": []})
    if has_pictures:
        atomic_write.write_text(folder / export_files.CREDITS, credits_csv(kept))
    is_evaluated, is_sampled = (_says(each, lineage) for each in (paths.evaluation / "details", paths.samples))
    content = CardContent(
        title=model.title,
        name=card["name"],
        trigger=model.trigger,
        method=card["method"],
        pipeline_class=model.family.pipeline_class,
        adapters=adapters,
        base=model.metadata["base"],
        base_model=_base_model(card, params),
        base_licence=_licence(paths.root / card["base"] / export_files.README),
        step=step,
        lineage_id=card["lineage_id"],
        dataset_digest=card["dataset_digest"],
        licences=kept["licence"].value_counts().sort_index().to_dict(),
        scores=_scores(stage_outputs.metrics(paths.evaluation), step) if is_evaluated else [],
        pictures=_pictures(paths.samples, step, folder) if is_sampled else [],
        load=load,
    )
    atomic_write.write_text(folder / export_files.README, model_card(content))


def _base_model(card: Mapping[str, Any], params: Params) -> str:
    """The base model's id on Hugging Face where params.yaml names it, else its folder's name."""
    if params.base.hub_id and params.base.path == card["base"]:
        return params.base.hub_id
    return re.sub(r"[^\w.-]", "-", Path(card["base"]).name)


def _licence(readme: Path) -> dict[str, str]:
    """What the card of a base model says of its licence; nothing where it has no card, or one that cannot be read."""
    from huggingface_hub import ModelCard

    if not readme.is_file():
        return {}
    text = readme.read_text(encoding="utf-8", errors="replace")
    data = ModelCard(text, ignore_metadata_errors=True).data.to_dict()
    return {key: data[key] for key in LICENCE_KEYS if isinstance(data.get(key), str)}


def _says(folder: Path, expected: Mapping[str, str]) -> bool:
    """Is the folder finished, and does its card say this?"""
    return (folder / atomic_write.CARD).is_file() and expected.items() <= atomic_write.read_card(folder).items()


def _scores(metrics: Mapping[str, Any], step: int) -> list[tuple[MetricSpec, float | None, float]]:
    """The metrics of the base and of the step; none where the step was not measured."""
    base, of_step = (metrics["steps"].get(str(each), {}) for each in (0, step))
    values = {name: score["value"] for name, score in of_step.items() if score["value"] is not None}
    return [
        (spec, base.get(name, {}).get("value"), values[name]) for name, spec in all_specs().items() if name in values
    ]


def _pictures(samples: Path, step: int, folder: Path) -> list[tuple[str, str]]:
    """Copy a sample of the step for each of the first prompts into `folder`; the prompts with the copies' names."""
    rows = parquet.read(samples / "samples.parquet")
    rows = rows[[(samples / name).is_file() for name in rows["file_name"]]]
    first = rows[rows["step"] == step].sort_values(["prompt_index", "seed"]).drop_duplicates("prompt_index")
    pictures = []
    for number, row in enumerate(first.head(MAX_PICTURES).to_dict("records"), start=1):
        name = f"{export_files.PICTURES}/{number:02d}.png"
        atomic_write.write_bytes(folder / name, (samples / row["file_name"]).read_bytes())
        pictures.append((row["prompt"], name))
    return pictures
