"""Stage `evaluate`: what the samples of each checkpoint are worth, and which checkpoint to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from pipeline.core.errors import InputError
from pipeline.core.params import Params, fill_prompt
from pipeline.core.paths import Paths
from pipeline.core.records import Rejection, Report, Score
from pipeline.families import clip
from pipeline.io import images, outputs, tables
from pipeline.io.progress import track
from pipeline.io.weights import model_folder
from pipeline.metrics import METRICS, gain, real_values, score
from pipeline.metrics.choice import Choice, Scores, choose, with_interval
from pipeline.metrics.evidence import Reference, Samples, Views
from pipeline.metrics.nearest_train import nearest, threshold
from pipeline.metrics.species_accuracy import nearest_species

DIGITS = 6  # the last bits of a float differ between machines
SHOWN = ("species_accuracy", "clip_i", "clip_t", "diversity", "memorised")


def evaluate(params: Params, paths: Paths) -> Report:
    """Measure every checkpoint's samples against the curated pictures and choose a step.

    Raises
    ------
    InputError
        When samples, curated pictures or the CLIP model are missing or damaged.
    """
    card, table = outputs.read_card(paths.samples), tables.read(paths.samples / "samples.parquet")
    curated = _curated(params, paths)
    eyes = _load_clip(paths.root, params.base.clip)
    reference = _reference(eyes, curated, params, paths)
    samples = _samples(eyes, table, params, paths)

    by_step = {int(step): samples.take((table["step"] == step).to_numpy()) for step in sorted(table["step"].unique())}
    scores, missing = _scores(by_step, reference, params)
    choice = choose(scores, params.evaluate.primary, params.evaluate.tie_margin, missing)
    per_image = _per_image(table, samples, reference)
    verdict = _verdict(choice, by_step, reference, per_image, params) | {"lineage_id": card["lineage_id"]}
    metrics = _metrics(choice, scores, missing, reference, params) | {"n_images": len(table)}

    with outputs.fresh_folder(paths.evaluation / "details") as folder:
        tables.write(folder / "per_image.parquet", per_image)
        outputs.write_json(folder / "verdict.json", verdict)
        outputs.write_card(folder, stage="evaluate", species=paths.species, lineage_id=card["lineage_id"],
                           n_images=len(table), chosen_step=choice.step, primary=choice.primary)  # fmt: skip
    outputs.write_json(paths.evaluation / "metrics.json", metrics)
    return Report("evaluate", _lines(choice, scores, missing, paths.species), metrics["chosen"])


def _load_clip(root: Path, path: str) -> clip.Clip:
    folder = model_folder(root, path, marker="config.json")
    try:
        return clip.load(folder)
    except (OSError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise InputError(f"`base.clip` in params.yaml names no CLIP that can be loaded: {detail}") from error


def _curated(params: Params, paths: Paths) -> dict[str, pd.DataFrame]:
    """Kept pictures of every species that has been curated; this one must have been."""
    found = {}
    for species in params.species:
        folder = paths.of(species).curated
        if species == paths.species or (folder / outputs.CARD).is_file():
            outputs.read_card(folder)
            found[species] = tables.read(folder / "metadata.parquet")
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
    return [caption.replace(words.name, words.class_noun) for caption in captions]


def _samples(eyes: clip.Clip, table: pd.DataFrame, params: Params, paths: Paths) -> Samples:
    noun = params.species[paths.species].class_noun
    scored = {template: fill_prompt(template, name=noun, class_noun=noun) for template in table["template"].unique()}
    rows = dict(zip(scored, clip.embed_texts(eyes, list(scored.values())), strict=True))
    names = track(table["file_name"], f"measuring {paths.species}")
    return Samples(
        rows=clip.embed_images(eyes, _pictures(paths.samples, names, params)),
        texts=np.stack([rows[template] for template in table["template"]]),
        prompt_index=table["prompt_index"].to_numpy(),
    )


def _pictures(folder: Path, names: Sequence[str], params: Params) -> list[Image.Image]:
    return [_picture(folder / name, params.curate.max_pixels) for name in names]


def _picture(path: Path, max_pixels: int) -> Image.Image:
    try:
        image = images.decode(path.read_bytes(), max_pixels)
    except FileNotFoundError:
        raise InputError(f"{path} is missing, though its table names it; run the stage that writes it again") from None
    if isinstance(image, Rejection):
        raise InputError(f"{path} cannot be read: {image.sentence}")
    return image


def _scores(
    by_step: Mapping[int, Samples], reference: Reference, params: Params
) -> tuple[dict[int, dict[str, Score]], dict[str, str]]:
    """Scores by step and metric, and for each metric that could not be measured the reason."""
    scores: dict[int, dict[str, Score]] = {step: {} for step in by_step}
    missing: dict[str, str] = {}
    for step, samples in by_step.items():
        for name in METRICS:
            found = score(name, samples, reference, resamples=params.evaluate.bootstrap_resamples, seed=params.seed)
            if isinstance(found, Score):
                scores[step][name] = found
            else:
                missing[name] = found
    return scores, missing


def _per_image(table: pd.DataFrame, samples: Samples, reference: Reference) -> pd.DataFrame:
    """One row a sample, in the order of samples.parquet."""
    index, cosine = nearest(samples.rows, reference)
    compared = reference.can_compare
    species = nearest_species(samples.rows, reference) if compared else np.full(len(table), "")
    chosen = ["file_name", "checkpoint", "step", "prompt_index", "prompt", "seed"]
    return table[chosen].assign(
        clip_t=METRICS["clip_t"].measure(samples, reference).values.round(DIGITS),
        clip_i=METRICS["clip_i"].measure(samples, reference).values.round(DIGITS),
        species_hit=species == reference.species if compared else None,
        nearest_species=species,
        nearest_train=[reference.train_names[i] for i in index],
        nearest_train_cosine=cosine.round(DIGITS),
        memorised=cosine > threshold(reference),
    )


def _metrics(
    choice: Choice,
    scores: Scores,
    missing: Mapping[str, str],
    reference: Reference,
    params: Params,
) -> dict[str, Any]:
    """`metrics.json`; a metric that could not be measured is null, and `missing` says why."""
    plain = {step: {name: _rounded(by.get(name) and by[name].value) for name in METRICS} for step, by in scores.items()}
    return {
        "species": reference.species,
        "name": params.species[reference.species].name,
        "chosen_step": choice.step,
        "chosen_checkpoint": _label(choice.step),
        "primary": choice.primary,
        "reason": choice.reason,
        "base": plain[0],
        "chosen": plain[choice.step],
        "real": {name: _rounded(value) for name, value in real_values(reference).items()},
        "steps": {str(step): {name: _entry(by.get(name)) for name in METRICS} for step, by in scores.items()},
        "missing": dict(missing),
    }


def _entry(found: Score | None) -> dict[str, Any]:
    if found is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = found.interval
    return {"value": _rounded(found.value), "low": _rounded(low), "high": _rounded(high), "n": found.n}


def _verdict(
    choice: Choice, by_step: Mapping[int, Samples], reference: Reference, per_image: pd.DataFrame, params: Params
) -> dict[str, Any]:
    """`verdict.json`: the choice, the paired gain over the base, and the pictures that look copied."""
    gained = gain(choice.primary, by_step[choice.step], by_step[0], reference,
                  resamples=params.evaluate.bootstrap_resamples, seed=params.seed)  # fmt: skip
    copied = per_image[(per_image["step"] == choice.step) & per_image["memorised"]]
    return {
        "species": reference.species,
        **asdict(choice),
        "checkpoint": _label(choice.step),
        "gain": _entry(gained),
        "compared_with": [name for name in reference.holdout if name != reference.species],
        "memorised_above": _rounded(threshold(reference)),
        "memorised": copied["file_name"].tolist(),
    }


def _lines(choice: Choice, scores: Scores, missing: Mapping[str, str], species: str) -> tuple[str, ...]:
    measured = [name for name in SHOWN if name in scores[choice.step]]
    rows = [f"  {METRICS[name].title:18} {METRICS[name].text(scores[0][name].value):>6} -> "
            f"{with_interval(scores[choice.step][name])}" for name in measured]  # fmt: skip
    unknown = [f"  {METRICS[name].title:18} unknown: {reason}" for name, reason in missing.items()]
    return (f"{species}: {choice.reason}", *rows, *unknown)


def _label(step: int) -> str:
    return f"step-{step:06d}" if step else "base"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
