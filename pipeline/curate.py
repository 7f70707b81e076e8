"""curate: from what was collected to what is worth training on.

Every stored picture gets scores, and from them a verdict with a code and a sentence, and a place on the contact sheet.
Nothing is deleted: `data/raw` stays as it is, and a threshold changed in params.yaml gives other verdicts on the same
scores. The verdicts of people in `data/reviews` outrank every score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL

from pipeline.core.errors import InputError
from pipeline.core.import_closure import code_digest
from pipeline.core.lineage import digest_json
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.prompts import fill_prompt
from pipeline.core.reason_codes import ReasonCodes
from pipeline.core.records import MANIFEST_COLUMNS, Rejection, Report
from pipeline.curation import calibration, embeddings, measuring, reviewed, scoring, source_captions, summary, tables
from pipeline.curation.all_checks import all_checks, reason_codes
from pipeline.curation.check import Check
from pipeline.curation.verdicts import recompute
from pipeline.io.files import atomic_write, model_folders, parquet, reviews
from pipeline.io.images import codecs, decode_codes, embedding_cache, image_cache
from pipeline.io.images.decoding import DecodeJob, decoded
from pipeline.io.terminal.progress_bars import track
from pipeline.pages.contact_sheet import contact_sheet
from pipeline.pages.curation_report import curation_report
from pipeline.pages.dataset_card import dataset_card
from pipeline.sources import licence_policy

ONLY_COLLECTED = ["kept", "reason_code", "reason"]
LATER_COLUMNS = ["author_url", "licence_text", "shows", "taxon", "evidence", "final_url", "content_type"]
MEASURING = ("pipeline.curation.measuring", "pipeline.io.images.codecs", "pipeline.io.images.image_cache")
EMBEDDED_AT_ONCE = 256  # pictures between two saves


@dataclass(frozen=True)
class Curation:
    """What is written of a species: `verdicts` has one row per stored picture, `cache_dir` their files."""

    name: str
    manifest: pd.DataFrame
    scores: pd.DataFrame
    verdicts: pd.DataFrame
    card: dict[str, Any]
    codes: ReasonCodes
    cache_dir: Path


def curate(params: Params, paths: Paths) -> Report:
    """Fill `data/curated/<species>/` (imagefolder, tables, card) and `reports/curation/<species>/` (pages, thumbnails).

    Raises
    ------
    InputError
        When the collection or a model is missing or damaged, a review cannot be read, or nothing is left to train on.
    """
    checks, people, manifest = all_checks(), reviews.read(paths.reviews), _read_manifest(paths)
    stored = manifest[manifest["kept"]].drop(columns=ONLY_COLLECTED).reset_index(drop=True)
    cache_dir = _cache_dir(params, paths)
    scores = _scores(stored, people, checks, cache_dir, params, paths)

    table = tables.verdicts(stored, scores, recompute(scores, people, params.curate, params.seed, checks))
    table["caption"] = _captions(table, cache_dir, params, paths)
    card = tables.card(paths.species, table, scores["png_sha256"])
    codes = ReasonCodes(licence_policy.CODES, decode_codes.CODES, reason_codes(checks), (reviewed.REVIEWED,))
    card |= {"dropped": summary.dropped(table, codes, paths.species)}  # `validate` says it where too few are left
    curation = Curation(params.species[paths.species].name, manifest, scores, table, card, codes, cache_dir)
    if not card["n_train"]:
        sheet = _put_aside(curation, paths)
        raise InputError(f"{summary.nothing_left(curation.name, card, codes, paths.species)}; see {sheet}")

    with atomic_write.fresh_folder(paths.curated) as folder:
        _write_data(folder, curation, paths.species)
    with atomic_write.fresh_folder(paths.curation) as folder:
        _write_pages(folder, curation, paths.gallery_link(paths.curation))
        atomic_write.write_card(folder, stage="curate", species=paths.species, digest=card["digest"])
    numbers = {name: card[name] for name in ("n_train", "n_holdout", "n_dropped")}
    return Report("curate", tuple(summary.lines(card, table, people, paths)), numbers)


def calibrate(params: Params, paths: Paths) -> Report:
    """Precision, recall and confusion of the stored scores against the labels of people; changes nothing."""
    checks, people = all_checks(), reviews.read(paths.reviews)
    scores = parquet.read(paths.curated / "scores.parquet")
    if missing := sorted(scoring.MEASURED.keys() - set(scores.columns)):
        raise InputError(
            f"{paths.curated / 'scores.parquet'} lacks {', '.join(missing)}, so an earlier version wrote it; "
            f"run `paleo curate {paths.species}` again"
        )
    labels = reviewed.labels(scores, people)
    if not (labels != "").any():
        line = f"no picture of {paths.species} is labelled; make labels with `paleo review {paths.species}`"
        return Report("calibrate", (line,), {})
    verdicts = recompute(scores, people.iloc[:0], params.curate, params.seed, checks)
    thresholds = [threshold for check in checks.values() if (threshold := check.threshold(params.curate))]
    found = calibration.calibration(verdicts, labels, thresholds)
    numbers = {"precision": found.quality.precision, "recall": found.quality.recall}
    lines = calibration.lines(found, paths.species, str(paths.reviews.relative_to(paths.root)))
    return Report("calibrate", tuple(lines), numbers)


def _read_manifest(paths: Paths) -> pd.DataFrame:
    atomic_write.read_card(paths.raw)  # without it the folder is half a collection
    manifest = parquet.read(paths.raw / "manifest.parquet", MANIFEST_COLUMNS)
    missing = [name for name in LATER_COLUMNS if name not in manifest]  # collected before there were such columns
    return manifest.assign(**dict.fromkeys(missing, "")) if missing else manifest


def _cache_dir(params: Params, paths: Paths) -> Path:
    """Where reduced pictures and measures are cached: another folder for whatever would make other ones."""
    curate = params.curate
    settings = [curate.crop_borders, curate.image_side_px, curate.decode.max_pixels, curate.decode.max_frames]
    key = digest_json([settings, code_digest(MEASURING), list(scoring.MEASURED), PIL.__version__])
    return paths.work / "curate" / paths.species / key[:16]


def _scores(
    stored: pd.DataFrame,
    people: pd.DataFrame,
    checks: Mapping[str, Check],
    cache_dir: Path,
    params: Params,
    paths: Paths,
) -> pd.DataFrame:
    """`scores.parquet`: one row per stored picture."""
    sources = params.species[paths.species].sources
    trusted = frozenset(source.label for source in sources if getattr(source, "trusted", False))
    scores = scoring.measured(stored, _measured(stored, cache_dir, params, paths), trusted)
    needed = any(check.needs_embeddings(params.curate) for check in checks.values())
    if needed and len(scoring.to_embed(scores)):
        scores = _with_embeddings(scores, checks, cache_dir, params, paths)
    labels = reviewed.labels(scores, people)
    for check in checks.values():
        scores = scores.assign(**check.scores(scores, labels, params.curate))
    return scores


def _measured(
    stored: pd.DataFrame, cache_dir: Path, params: Params, paths: Paths
) -> dict[str, measuring.Measures | Rejection]:
    """By sha256: the measures of each picture, or why there are none. Pictures are decoded in child processes."""
    curate = params.curate
    files = {sha256: paths.raw / path for sha256, path in zip(stored["sha256"], stored["path"])}
    if missing := next((path for path in files.values() if not path.is_file()), None):
        raise InputError(f"{missing} is missing; run `paleo collect {paths.species}` again")
    found: dict[str, measuring.Measures | Rejection] = {}
    for sha256 in files:
        if measures := image_cache.measures_of(cache_dir, sha256):
            found[sha256] = measuring.Measures(**measures)
    jobs = [DecodeJob(path, sha256) for sha256, path in files.items() if sha256 not in found]
    measure = partial(measuring.measure, crop=curate.crop_borders, side_px=curate.image_side_px, shrink=codecs.shrink)
    results = decoded(jobs, curate.decode, partial(image_cache.store, folder=cache_dir, measure=measure))
    for sha256, result in track(results, f"curate {paths.species}", len(jobs)):
        found[sha256] = result if isinstance(result, Rejection) else measuring.Measures(**result)
    return found


def _with_embeddings(
    scores: pd.DataFrame, checks: Mapping[str, Check], cache_dir: Path, params: Params, paths: Paths
) -> pd.DataFrame:
    """Add CLIP embeddings, and the cosines to the prompts of all checks."""
    from pipeline.vision import clip  # imports torch, which a set of trusted pictures does not need

    species = params.species[paths.species]
    model = model_folders.model_folder(paths.root, params.base.clip, marker="config.json")
    loaded = clip.load(model)
    file = cache_dir / f"embeddings-{model_folders.weights_digest(model)[:16]}.npz"
    rows = embedding_cache.read(file)
    wanted = scoring.to_embed(scores)
    missing = wanted[~wanted["pixel_sha256"].isin(rows)]
    pairs = zip(missing["pixel_sha256"], missing["sha256"])
    for number, (pixels, sha256) in enumerate(track(pairs, "curate: embed with CLIP", len(missing)), start=1):
        # One picture at a time: in a batch the last bits depend on the others.
        image = image_cache.open_image(cache_dir, sha256)
        rows[pixels] = clip.embed_images(loaded, [image], batch_size=1)[0].astype(np.float16)
        if number % EMBEDDED_AT_ONCE == 0 or number == len(missing):
            embedding_cache.write(file, rows)
    scores = scoring.with_embeddings(scores, rows)
    prompts = {
        column: [fill_prompt(prompt, name=species.name, class_noun=species.class_noun) for prompt in of]
        for check in checks.values()
        for column, of in check.prompts(params.curate).items()
    }
    return scores.assign(**embeddings.cosines(scores, prompts, partial(clip.embed_texts, loaded)))


def _captions(table: pd.DataFrame, cache_dir: Path, params: Params, paths: Paths) -> list[str]:
    """The caption of the source, else that of a captioning model for a kept picture, else the template."""
    max_words, species = params.validate_.caption_max_words, params.species[paths.species]
    found = [source_captions.of_source(row, max_words) for row in table[["caption", "title"]].to_dict("records")]
    missing = [row for row in np.flatnonzero(table["verdict"] == "keep") if not found[row]]
    folder = paths.root / params.curate.captioner
    if params.curate.captioner and not folder.is_dir():
        raise InputError(
            f"the captioning model {params.curate.captioner!r} is not there; download it or empty `curate.captioner`"
        )
    if params.curate.captioner and missing:
        from pipeline.vision import captioner

        loaded = captioner.load(folder)
        for row in track(missing, "curate: caption", len(missing)):
            image = image_cache.open_image(cache_dir, table["sha256"].iloc[row])
            found[row] = source_captions.clean(captioner.caption_images(loaded, [image])[0], max_words)
    template = fill_prompt(params.curate.caption, name=species.name, class_noun=species.class_noun)
    return [caption or template for caption in found]


def _write_data(folder: Path, curation: Curation, key: str) -> None:
    """The kept pictures as an imagefolder with its README.md, the tables and the card."""
    kept = curation.verdicts[curation.verdicts["verdict"] == "keep"]
    for sha256, name in zip(kept["sha256"], kept["file_name"]):
        image_cache.link(curation.cache_dir, sha256, "png", folder / name)
    for split, rows in kept.groupby("split"):
        atomic_write.write_text(folder / str(split) / "metadata.jsonl", tables.imagefolder_metadata(rows))
    readme = dataset_card(key, curation.name, kept.to_dict("records"), curation.card)
    atomic_write.write_text(folder / "README.md", readme)
    parquet.write(folder / "scores.parquet", curation.scores)
    parquet.write(folder / "verdicts.parquet", curation.verdicts)
    parquet.write(folder / "metadata.parquet", kept[["file_name", *kept.columns.drop("file_name")]])
    atomic_write.write_card(folder, **curation.card)


def _write_pages(folder: Path, curation: Curation, gallery: str) -> None:
    """The report, the contact sheet and every thumbnail; `gallery` is the address of the species' page there."""
    name, verdicts, manifest, codes = curation.name, curation.verdicts, curation.manifest, curation.codes
    for sha256 in verdicts.loc[verdicts["width_px"].notna(), "sha256"]:
        image_cache.link(curation.cache_dir, sha256, "webp", folder / "thumbs" / f"{sha256}.webp")
    sheet = contact_sheet(name, verdicts, manifest[~manifest["kept"]], codes, gallery=gallery)
    report = curation_report(name, verdicts, manifest, curation.card, codes, gallery=gallery)
    atomic_write.write_text(folder / "contact_sheet.html", sheet)
    atomic_write.write_text(folder / "index.html", report)


def _put_aside(curation: Curation, paths: Paths) -> Path:
    """Write the pages of a curation that left nothing to train on, so that one can see why; the contact sheet."""
    aside = paths.work / "curate" / paths.species / "refused"
    with atomic_write.fresh_folder(aside) as folder:
        _write_pages(folder, curation, paths.gallery_link(aside))
        parquet.write(folder / "verdicts.parquet", curation.verdicts)  # for `paleo review`: people may disagree
        atomic_write.write_card(folder, **curation.card)
    return (aside / "contact_sheet.html").relative_to(paths.root)
