"""What the stages have left about a species, gathered for the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_json
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.io.files import atomic_write, model_folders, parquet, stage_outputs
from pipeline.io.tracking import mlflow_runs, provenance
from pipeline.io.tracking.mlflow_registry import Release
from pipeline.registry import promotion

STORED_BASE_BYTES = 200 * 2**20  # a larger base model is named by its digest instead of stored with every adapter
SUITE = [
    "prompt_index",
    "prompt",
    "seed",
    "sampler",
    "steps",
    "guidance_scale",
    "negative_prompt",
    "width_px",
    "height_px",
]
DRAWN_WITH = ("sampler", "steps", "guidance_scale", "negative_prompt", "width_px", "height_px")
CREDITS = ["file_name", "title", "author", "licence", "licence_url", "page_url", "source"]
# Read when MLflow loads the version. What draws is the installed code, the same as that of `paleo sample`.
CODE = """\
from mlflow.models import set_model

from pipeline.served_model import ServedModel

set_model(ServedModel())
"""


@dataclass(frozen=True)
class ReleaseCandidate:
    """What the stages say about a species: enough to know whether it is registered."""

    paths: Paths
    card: Mapping[str, Any]  # of the model
    metrics: Mapping[str, Any]

    @property
    def step(self) -> int:
        return self.metrics["chosen_step"]

    @property
    def checkpoint(self) -> Path:
        return self.paths.model / next(s["path"] for s in self.card["snapshots"] if s["step"] == self.step)

    @property
    def identity(self) -> dict[str, str]:
        return {"lineage_id": self.card["lineage_id"], "step": str(self.step)}

    @property
    def gain(self) -> str:
        """`species accuracy 31 % -> 93 %`."""
        metric = self.metrics["primary"]
        before, after = (promotion.shown(metric, self.metrics[which][metric]) for which in ("base", "chosen"))
        return f"{promotion.words(metric)} {before} -> {after}"


def find(paths: Paths) -> ReleaseCandidate:
    """Read the cards and make sure that they speak of one training.

    Raises
    ------
    InputError
        When the species is not trained, sampled and evaluated, or these three are not of one training.
    """
    again = f"run `paleo run {paths.species}` first"
    if (
        not (paths.evaluation / "metrics.json").is_file()
        or not (paths.evaluation / "details" / atomic_write.CARD).is_file()
    ):
        raise InputError(f"{paths.species} is not evaluated yet; {again}")
    card, evaluated = atomic_write.read_card(paths.model), atomic_write.read_card(paths.evaluation / "details")
    metrics = stage_outputs.metrics(paths.evaluation)
    if (evaluated["lineage_id"], evaluated["chosen_step"]) != (card["lineage_id"], metrics["chosen_step"]):
        raise InputError(f"the evaluation of {paths.species} is not of its present model; {again}")
    if atomic_write.read_card(paths.samples)["lineage_id"] != card["lineage_id"]:
        raise InputError(f"the samples of {paths.species} are not of its present model; {again}")
    return ReleaseCandidate(paths, card, metrics)


def release(params: Params, finding: ReleaseCandidate) -> Release:
    """Everything that goes into the registry with a checkpoint."""
    paths, card = finding.paths, finding.card
    credits = parquet.read(paths.curated / "metadata.parquet")
    config = model_config(params, finding)
    return Release(
        species=paths.species,
        lineage_id=card["lineage_id"],
        step=finding.step,
        weights=_weights(finding, config, _write_credits(paths, credits)),
        code=CODE,
        config=config,
        tags=_tags(params, finding, credits),
        params=mlflow_runs.training_params(params, paths.species),
        scores=_scores(finding.metrics),
        losses=pd.read_csv(paths.model / "train.csv"),
        attachments=_attachments(paths),
        dataset={
            "name": paths.species,
            "digest": card["dataset_digest"],
            "path": f"data/curated/{paths.species}",
            **provenance.dataset_version(paths.root, paths.species),
            **_commit(paths.root),
        },
        description=_description(finding),
    )


def model_config(params: Params, finding: ReleaseCandidate) -> dict[str, Any]:
    """What the served model must know beside the weights."""
    card, species = finding.card, params.species[finding.paths.species]
    origin = {
        "species": finding.paths.species,
        "checkpoint": finding.checkpoint.name,
        "step": finding.step,
        "lineage_id": card["lineage_id"],
        "weights_digest": model_folders.weights_digest(finding.checkpoint),
    }
    return {
        "name": species.name,
        "class_noun": species.class_noun,
        "family": card["family"],
        "method": card["method"],
        "needs_base": not (finding.checkpoint / "model_index.json").is_file(),
        "base": params.base.path,
        "base_digest": card["base_digest"],
        "origin": origin,
        "batch_size": params.sample.batch_size,
        "zero_terminal_snr": bool(card.get("params", {}).get("loss", {}).get("zero_terminal_snr")),
        "sample": {key: getattr(params.sample, key) for key in DRAWN_WITH},
    }


def _weights(finding: ReleaseCandidate, config: Mapping[str, Any], credits: Path) -> dict[str, Path]:
    """The checkpoint, the credits, and the base model where the checkpoint needs it and it is small."""
    found = {"checkpoint": finding.checkpoint, "credits": credits}
    if config["needs_base"]:
        base = model_folders.model_folder(finding.paths.root, config["base"])
        if sum(path.stat().st_size for path in base.rglob("*") if path.is_file()) < STORED_BASE_BYTES:
            found["base"] = base
    return found


def _tags(params: Params, finding: ReleaseCandidate, credits: pd.DataFrame) -> dict[str, str]:
    """All that a person, or `paleo promote`, may ask about a version."""
    paths, card = finding.paths, finding.card
    plain = {key: str(card[key]) for key in ("family", "method", "base", "base_digest", "dataset_digest")}
    scores = _scores_as_tags(finding.metrics)
    return {
        **provenance.provenance(paths.root),
        **provenance.dataset_version(paths.root, paths.species),
        "species": paths.species,
        **finding.identity,
        **plain,
        **scores,
        **_yardstick(params, finding),
        "licences": ", ".join(sorted(set(credits["licence"]))),
        "n_pictures": str(len(credits)),
    }


def _scores_as_tags(metrics: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"{tag}.{name}": str(value)
        for tag, which in (("metric", "chosen"), ("base", "base"))
        for name, value in metrics[which].items()
        if value is not None
    }


def _yardstick(params: Params, finding: ReleaseCandidate) -> dict[str, str]:
    """How the numbers were measured: those of two versions can be compared when this is the same."""
    paths = finding.paths
    return {
        "primary": finding.metrics["primary"],
        "suite_digest": suite_digest(parquet.read(paths.samples / "samples.parquet")),
        "clip_digest": model_folders.weights_digest(
            model_folders.model_folder(paths.root, params.base.clip, marker="config.json")
        ),
        "compared_with": ", ".join(finding.metrics["compared_with"]),
    }


def suite_digest(samples: pd.DataFrame) -> str:
    """Of prompts, seeds and sampler settings as they were sampled; two models with the same one can be compared."""
    rows = samples[samples["step"] == 0][SUITE].sort_values(["prompt_index", "seed"])
    return digest_json(rows.to_dict("records"))[:16]


def _scores(metrics: Mapping[str, Any]) -> dict[int, dict[str, float]]:
    return {
        int(step): {name: score["value"] for name, score in by.items() if score["value"] is not None}
        for step, by in metrics["steps"].items()
    }


def _write_credits(paths: Paths, credits: pd.DataFrame) -> Path:
    """Who made the pictures of the data set, under which licences: it goes wherever the model goes."""
    path = paths.work / "release" / paths.species / "CREDITS.csv"
    atomic_write.write_text(path, credits[CREDITS].sort_values("file_name").to_csv(index=False))
    return path


def _attachments(paths: Paths) -> dict[str, Path]:
    """Pages and tables for the run, those that are there."""
    wanted = {
        "gallery": paths.site / paths.species,
        "evaluation": paths.evaluation / "details/verdict.json",
        "credits": paths.work / "release" / paths.species / "CREDITS.csv",
    }
    return {folder: path for folder, path in wanted.items() if path.exists()}


def _commit(root: Path) -> dict[str, str]:
    return {key: value for key, value in provenance.provenance(root).items() if key == "git_commit"}


def _description(finding: ReleaseCandidate) -> str:
    """Markdown for the version's page: how it came out at every step."""
    names = list(finding.metrics["chosen"])
    rows = [
        f"| {step}{' (chosen)' if step == finding.step else ''} | "
        + " | ".join(promotion.shown(name, by[name]) if name in by else "" for name in names)
        + " |"
        for step, by in sorted(_scores(finding.metrics).items())
    ]
    head = f"| step | {' | '.join(promotion.words(name) for name in names)} |\n|{' --- |' * (len(names) + 1)}"
    reason = finding.metrics["reason"]
    return "\n".join(
        [
            reason[:1].upper() + reason[1:],
            "",
            head,
            *rows,
            "",
            "Pictures: artifact `gallery/index.html` of the source run.",
        ]
    )
