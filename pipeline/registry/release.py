"""Release content: what becomes a model version, from what the stages left about a species.

Pure: `commands/register.py` reads the files and hands them over; `io/tracking` puts the release into MLflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_json
from pipeline.core.metric_spec import metric_spec
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.releases import Release, version_identity
from pipeline.registry.model_config import NAMES_OF_0_1, model_config

STORED_BASE_BYTES = 200 * 2**20  # a larger base model is named by its digest instead of stored with every adapter
# Columns under the names that paleoforge 0.1.0 gave them: the digest of a suite is the same in old and new versions.
SUITE_OF_0_1 = ["prompt_index", "prompt", "seed", "sampler", "steps", "guidance", "negative", "width_px", "height_px"]
CREDITS = ["file_name", "title", "author", "licence", "licence_url", "page_url", "source"]
# Read when MLflow loads the version. What draws is the installed code, the same as that of `paleo sample`.
CODE = """\
from mlflow.models import set_model

from pipeline.served_model import ServedModel

set_model(ServedModel())
"""


@dataclass(frozen=True)
class ReleaseCandidate:
    """The chosen step of a species as its cards describe it: enough to decide whether it is registered."""

    paths: Paths
    card: Mapping[str, Any]
    """Of the trained model."""
    metrics: Mapping[str, Any]
    """metrics.json and verdict.json of the evaluation together."""

    @property
    def step(self) -> int:
        return int(self.metrics["chosen_step"])

    @property
    def checkpoint(self) -> Path:
        folders: dict[int, str] = {each["step"]: each["path"] for each in self.card["snapshots"]}
        return self.paths.model / folders[self.step]

    @property
    def identity(self) -> dict[str, str]:
        return version_identity(self.card["lineage_id"], self.step)

    @property
    def gain(self) -> str:
        """`species accuracy 31 % -> 93 %`."""
        metric = metric_spec(self.metrics["primary"])
        before, after = (metric.text(self.metrics[which][metric.name]) for which in ("base", "chosen"))
        return f"{metric.title} {before} -> {after}"

    @property
    def scores(self) -> dict[int, dict[str, float]]:
        """By step and metric, what could be measured; step 0 is the base model."""
        return {
            int(step): {name: score["value"] for name, score in by.items() if score["value"] is not None}
            for step, by in self.metrics["steps"].items()
        }


@dataclass(frozen=True)
class ReleaseInputs:
    """What was read from disk for one candidate."""

    weights_digest: str
    base: Path | None
    """The base model below the checkpoint; None where the checkpoint is complete."""
    base_bytes: int
    clip_digest: str
    curated: pd.DataFrame
    """metadata.parquet: the pictures of the data set."""
    samples: pd.DataFrame
    """samples.parquet."""
    losses: Sequence[Mapping[str, float]]
    """The rows of train.csv."""
    credits_file: Path
    attachments: Mapping[str, Path]
    contact_sheets: Mapping[int, Path]
    training_params: Mapping[str, str]
    deciding_params: tuple[str, ...]
    provenance: Mapping[str, str]
    """Git commit, DVC experiment, flow run."""
    dataset_version: Mapping[str, str]
    """DVC's md5 and the git tag of the data set."""


def candidate(
    paths: Paths,
    *,
    card: Mapping[str, Any],
    samples_card: Mapping[str, Any],
    evaluation_card: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> ReleaseCandidate:
    """The candidate of a species; InputError unless model, samples and evaluation are of one training."""
    again = f"run `paleo run {paths.species}` first"
    evaluated = evaluation_card["lineage_id"], evaluation_card["chosen_step"]
    if evaluated != (card["lineage_id"], metrics["chosen_step"]):
        raise InputError(f"the evaluation of {paths.species} is not of its present model; {again}")
    if samples_card["lineage_id"] != card["lineage_id"]:
        raise InputError(f"the samples of {paths.species} are not of its present model; {again}")
    return ReleaseCandidate(paths, card, metrics)


def release(params: Params, chosen: ReleaseCandidate, inputs: ReleaseInputs) -> Release:
    """Everything that goes into the registry with a checkpoint."""
    species, card = chosen.paths.species, chosen.card
    config = model_config(
        params,
        species,
        card,
        step=chosen.step,
        checkpoint=chosen.checkpoint.name,
        weights_digest=inputs.weights_digest,
        needs_base=inputs.base is not None,
    )
    weights = {"checkpoint": chosen.checkpoint, "credits": inputs.credits_file}
    if inputs.base and inputs.base_bytes < STORED_BASE_BYTES:
        weights["base"] = inputs.base
    commit = {key: value for key, value in inputs.provenance.items() if key == "git_commit"}
    dataset = {"name": species, "digest": card["dataset_digest"], "path": f"data/curated/{species}"}
    return Release(
        species=species,
        lineage_id=card["lineage_id"],
        step=chosen.step,
        weights=weights,
        code=CODE,
        config=config,
        tags=_tags(chosen, inputs),
        params=inputs.training_params,
        deciding=inputs.deciding_params,
        scores=chosen.scores,
        losses=inputs.losses,
        attachments=inputs.attachments,
        contact_sheets=inputs.contact_sheets,
        dataset={**dataset, **inputs.dataset_version, **commit},
    )


def credits_csv(curated: pd.DataFrame) -> str:
    """Who made the pictures of the data set, under which licences: it goes wherever the model goes."""
    return str(curated[CREDITS].sort_values("file_name").to_csv(index=False))


def suite_digest(samples: pd.DataFrame) -> str:
    """Of prompts, seeds and sampler settings as they were sampled; two models with the same one can be compared."""
    names = {new: old for old, new in NAMES_OF_0_1.items()}
    rows = samples[samples["step"] == 0].rename(columns=names)[SUITE_OF_0_1].sort_values(["prompt_index", "seed"])
    return digest_json(rows.to_dict("records"))[:16]


def _tags(chosen: ReleaseCandidate, inputs: ReleaseInputs) -> dict[str, str]:
    """What versions are searched and compared by."""
    card, metrics = chosen.card, chosen.metrics
    scores = {
        f"{tag}.{name}": str(value)
        for tag, which in (("metric", "chosen"), ("base", "base"))
        for name, value in metrics[which].items()
        if value is not None
    }
    return {
        **inputs.provenance,
        **inputs.dataset_version,
        **chosen.identity,
        **{key: str(card[key]) for key in ("family", "method", "base", "base_digest", "dataset_digest")},
        **scores,
        "primary": metrics["primary"],
        "suite_digest": suite_digest(inputs.samples),
        "clip_digest": inputs.clip_digest,
        "compared_with": ", ".join(metrics["compared_with"]),
        "licences": ", ".join(sorted(set(inputs.curated["licence"]))),
        "n_pictures": str(len(inputs.curated)),
        "n_held_out": str(int((inputs.curated["split"] == "holdout").sum())),
    }
