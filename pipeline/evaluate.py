"""Stage `evaluate`: what the samples of each checkpoint are worth, and which checkpoint to keep."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from pipeline.core.errors import InputError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import Rejection, Report
from pipeline.io.files import atomic_write, parquet
from pipeline.io.files.model_folders import model_folder
from pipeline.io.images import codecs
from pipeline.io.terminal.progress_bars import track
from pipeline.metrics import evaluation
from pipeline.metrics.embedded import EmbeddedSamples, Reference, Views
from pipeline.vision import clip


def evaluate(params: Params, paths: Paths) -> Report:
    """Measure every checkpoint's samples against the curated pictures and choose a step.

    Raises
    ------
    InputError
        When samples, curated pictures or the CLIP model are missing or damaged.
    """
    card, table = atomic_write.read_card(paths.samples), parquet.read(paths.samples / "samples.parquet")
    curated = _curated(params, paths)
    eyes = clip.load(model_folder(paths.root, params.base.clip, marker="config.json"))
    reference = _reference(eyes, curated, params, paths)
    samples = _samples(eyes, table, params, paths)

    by_step = {int(step): samples.take((table["step"] == step).to_numpy()) for step in sorted(table["step"].unique())}
    found = evaluation.measure(by_step, reference, params.evaluate, params.seed)
    per_image = evaluation.per_image(table, samples, reference)
    metrics = evaluation.summary(found)

    with atomic_write.fresh_folder(paths.evaluation / "details") as folder:
        parquet.write(folder / "per_image.parquet", per_image)
        lineage = {"lineage_id": card["lineage_id"]}
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
    atomic_write.write_json(paths.evaluation / "metrics.json", metrics)
    return Report("evaluate", tuple(evaluation.lines(found)), metrics["chosen"])


def _curated(params: Params, paths: Paths) -> dict[str, pd.DataFrame]:
    """Kept pictures of every species that has been curated; this one must have been."""
    found = {}
    for species in params.species:
        folder = paths.of(species).curated
        if species == paths.species or (folder / atomic_write.CARD).is_file():
            atomic_write.read_card(folder)
            found[species] = parquet.read(folder / "metadata.parquet")
    return found


def _reference(eyes: clip.Clip, curated: Mapping[str, pd.DataFrame], params: Params, paths: Paths) -> Reference:
    """Embed the curated pictures of every species that has held-out ones."""
    own = curated[paths.species]
    for split, name in (("holdout", "held-out"), ("train", "training")):
        if not (own["split"] == split).any():
            raise InputError(f"{paths.curated} has no {name} pictures to measure with; see curate.holdout_fraction")
    measurable = {species: table for species, table in curated.items() if (table["split"] == "holdout").any()}
    views = {
        split: {
            species: _views(eyes, paths.of(species).curated, table.loc[table["split"] == split, "file_name"], params)
            for species, table in measurable.items()
        }
        for split in ("holdout", "train")
    }
    captions = own.loc[own["split"] == "holdout", "caption"]
    return Reference(
        species=paths.species,
        **views,
        holdout_texts=clip.embed_texts(eyes, _known_words(captions, params, paths.species)),
        train_names=tuple(own.loc[own["split"] == "train", "file_name"]),
    )


def _views(eyes: clip.Clip, folder: Path, names: Sequence[str], params: Params) -> Views:
    pictures = _pictures(folder, names, params)
    mirrored = [ImageOps.mirror(picture) for picture in pictures]
    return Views(clip.embed_images(eyes, pictures), clip.embed_images(eyes, mirrored))


def _known_words(captions: Sequence[str], params: Params, species: str) -> list[str]:
    """Captions with the class noun in place of the species' name, which CLIP has never read."""
    words = params.species[species]
    return [re.sub(re.escape(words.name), words.class_noun, caption, flags=re.IGNORECASE) for caption in captions]


def _samples(eyes: clip.Clip, table: pd.DataFrame, params: Params, paths: Paths) -> EmbeddedSamples:
    noun = params.species[paths.species].class_noun
    scored = {template: fill_prompt(template, name=noun, class_noun=noun) for template in table["template"].unique()}
    rows = dict(zip(scored, clip.embed_texts(eyes, list(scored.values())), strict=True))
    names = track(table["file_name"], f"measuring {paths.species}")
    return EmbeddedSamples(
        rows=clip.embed_images(eyes, _pictures(paths.samples, names, params)),
        texts=np.stack([rows[template] for template in table["template"]]),
        prompt_index=table["prompt_index"].to_numpy(),
    )


def _pictures(folder: Path, names: Sequence[str], params: Params) -> list[Image.Image]:
    return [_picture(folder / name, params.curate.decode.max_pixels) for name in names]


def _picture(path: Path, max_pixels: int) -> Image.Image:
    try:
        image = codecs.decode(path.read_bytes(), max_pixels)
    except FileNotFoundError:
        raise InputError(f"{path} is missing, though its table names it; run the stage that writes it again") from None
    if isinstance(image, Rejection):
        raise InputError(f"{path} cannot be read: {image.sentence}")
    return image
