"""The metadata in an exported file's header: its lineage, and what ComfyUI and AUTOMATIC1111 show.

`modelspec.*` is Stability AI's model metadata standard 1.0.1, `ss_*` what kohya's sd-scripts write. Unknown
values are left out, and so is everything that differs from one export to the next, such as a date.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.families.family import Family

SUFFIXES = {"adapters": "/lora", "embeddings": "/textual-inversion", "checkpoint": ""}
LDM_IMPLEMENTATION = "https://github.com/Stability-AI/generative-models"
HASH_KEY = "modelspec.hash_sha256"  # of the tensors' bytes as they lie in the file; filled in when they lie there
NO_HASH = "0x" + 64 * "0"


@dataclass(frozen=True)
class ExportedModel:
    """An exported model, for its metadata and load instructions.

    `version` is kohya's name for the kind of its base: empty if it is none of them, None if the base is missing.
    """

    metadata: Mapping[str, str]
    family: Family
    title: str
    trigger: str
    version: str | None
    architecture: str  # as the metadata standard names it; empty where `version` is
    prediction: str
    params: Mapping[str, Any]  # of the training, as in the model's card


def metadata(model: ExportedModel, kind: str) -> dict[str, str]:
    """For a file of `adapters`, `embeddings` or a whole `checkpoint`."""
    side_px = model.params.get("resolution_px")
    spec = {
        "sai_model_spec": "1.0.1",
        "title": model.title,
        "trigger_phrase": model.trigger,
        "implementation": "diffusers" if kind == "adapters" else LDM_IMPLEMENTATION,
        "prediction_type": "v" if model.prediction == "v_prediction" else model.prediction,
        "resolution": f"{side_px}x{side_px}" if side_px else "",
    }
    if model.version:
        spec["architecture"] = model.architecture + SUFFIXES[kind]
    return {**model.metadata, **{f"modelspec.{key}": value for key, value in spec.items() if value}, HASH_KEY: NO_HASH}


def kohya_metadata(
    model: ExportedModel, network: tuple[str, Mapping[str, str]], rank: int, alpha: float
) -> dict[str, str]:
    """Further metadata of a file of adapters; alpha as it stands in the file, `network` as `Method.kohya_network`."""
    params = model.params
    values = {
        "ss_output_name": model.title,
        "ss_sd_model_name": model.metadata["base"],
        "ss_base_model_version": _base_version(model),
        "ss_v2": str(model.version == "sd_v2") if model.version else "",
        "ss_network_module": network[0],
        "ss_network_dim": rank,
        "ss_network_alpha": f"{alpha:g}",
        "ss_network_args": json.dumps(dict(network[1])) if network[1] else "",
        "ss_steps": model.metadata["step"],
        "ss_max_train_steps": params.get("steps"),
        "ss_seed": params.get("seed"),
        "ss_learning_rate": params.get("learning_rate"),
        "ss_lr_scheduler": params.get("lr_schedule", params.get("schedule")),
        "ss_optimizer": params.get("optimiser"),
        "ss_total_batch_size": params.get("batch_size"),
    }
    return {key: str(value) for key, value in values.items() if value not in (None, "")}


def _base_version(model: ExportedModel) -> str | None:
    return f"{model.version}_v" if (model.version, model.prediction) == ("sd_v2", "v_prediction") else model.version
