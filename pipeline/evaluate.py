"""Stage `evaluate`: measure the samples of each checkpoint, and choose the checkpoint to keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import ImageOps

from pipeline.core.errors import InputError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import Report
from pipeline.core.registry import lookup
from pipeline.io.files import atomic_write, parquet, stage_outputs
from pipeline.io.files.model_folders import model_folder
from pipeline.io.terminal.progress_bars import track
from pipeline.metrics import METRICS, all_metrics, evaluation
from pipeline.metrics.inputs import CuratedPictures, EmbeddedSamples, Reference
from pipeline.vision import clip


def evaluate(params: Params, paths: Paths) -> Report:
    """Measure every checkpoint's samples against the curated pictures and choose a step.

    Raises
    ------
    ParamsError
        When `evaluate.primary` is no metric.
    InputError
        When samples, curated pictures or the CLIP model are missing or damaged.
    """
    lookup("evaluate.primary", params.evaluate.primary, METRICS)
    metrics = all_metrics()
    card, table = atomic_write.read_card(paths.samples), parquet.read(paths.samples / "samples.parquet")
    curated = _curated(params, paths)
    encoder = clip.load(model_folder(paths.root, params.base.clip, marker="config.json"))
    reference = _reference(encoder, curated, params, paths)
    samples = _samples(encoder, table, params, paths)

    by_step = {int(step): samples.take((table["step"] == step).to_numpy()) for step in sorted(table["step"].unique())}
    found = evaluation.measure(metrics, by_step, reference, params.evaluate, params.seed)
    per_image = evaluation.per_image(metrics, table, samples, reference)
    summary = evaluation.summary(found)

    lineage = {"lineage_id": card["lineage_id"]}
    with atomic_write.fresh_folder(paths.evaluation / "details") as folder:
        parquet.write(folder / "per_image.parquet", per_image)
        atomic_write.write_json(folder / "verdict.json", evaluation.verdict(found, per_image) | lineage)
        atomic_write.write_card(
            folder,
            stage="evaluate",
            species=paths.species,
            n_images=len(table),
            chosen_step=found.choice.step,
            primary=found.choice.primary,
            **lineage,
        )
    atomic_write.write_json(paths.evaluation / "metrics.json", summary)
    return Report("evaluate", tuple(evaluation.lines(found)), summary["chosen"])


def _curated(params: Params, paths: Paths) -> dict[str, pd.DataFrame]:
    """Kept pictures of every species that has been curated; this one must have been."""
    found = {}
    for species in params.species:
        folder = paths.of(species).curated
        if species == paths.species or (folder / atomic_write.CARD).is_file():
            atomic_write.read_card(folder)
            found[species] = parquet.read(folder / "metadata.parquet")
    return found


def _reference(encoder: clip.Clip, curated: Mapping[str, pd.DataFrame], params: Params, paths: Paths) -> Reference:
    """Embed the curated pictures of every species that has held-out ones."""
    own = curated[paths.species]
    for split, name in (("holdout", "held-out"), ("train", "training")):
        if not (own["split"] == split).any():
            raise InputError(f"{paths.curated} has no {name} pictures to measure with; see curate.holdout_fraction")

    def embedded(split: str) -> dict[str, CuratedPictures]:
        return {
            species: _embedded(encoder, paths.of(species).curated, table.loc[table["split"] == split, "file_name"])
            for species, table in curated.items()
            if (table["split"] == "holdout").any()
        }

    # CLIP has never read the species' name: the captions have the class noun in its place.
    words = params.species[paths.species]
    captions = [
        re.sub(re.escape(words.name), words.class_noun, caption, flags=re.IGNORECASE)
        for caption in own.loc[own["split"] == "holdout", "caption"]
    ]
    return Reference(
        species=paths.species,
        holdout=embedded("holdout"),
        train=embedded("train"),
        holdout_texts=clip.embed_texts(encoder, captions),
        train_names=tuple(own.loc[own["split"] == "train", "file_name"]),
    )


def _embedded(encoder: clip.Clip, folder: Path, names: Iterable[str]) -> CuratedPictures:
    pictures = [stage_outputs.picture(folder / name) for name in names]
    mirrored = [ImageOps.mirror(picture) for picture in pictures]
    return CuratedPictures(clip.embed_images(encoder, pictures), clip.embed_images(encoder, mirrored))


def _samples(encoder: clip.Clip, table: pd.DataFrame, params: Params, paths: Paths) -> EmbeddedSamples:
    """Embed the samples and the texts that they are scored with: the prompts with the class noun as the name."""
    noun = params.species[paths.species].class_noun
    scored = {template: fill_prompt(template, name=noun, class_noun=noun) for template in table["template"].unique()}
    texts = dict(zip(scored, clip.embed_texts(encoder, list(scored.values())), strict=True))
    names = track(table["file_name"], f"measuring {paths.species}")
    return EmbeddedSamples(
        pictures=clip.embed_images(encoder, [stage_outputs.picture(paths.samples / name) for name in names]),
        texts=np.stack([texts[template] for template in table["template"]]),
        prompt_index=table["prompt_index"].to_numpy(),
    )
