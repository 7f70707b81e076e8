"""curate: from what was collected to what is worth training on.

Every stored picture gets scores, and from them a verdict with a code and a sentence, and a place on the contact sheet.
Nothing is deleted: `data/raw` stays as it is, and a threshold changed in params.yaml gives other verdicts on the same
scores. What people say in `data/reviews` outranks every score.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL
from rich.console import Console
from rich.table import Table

from pipeline.core.errors import InputError
from pipeline.core.import_closure import code_digest
from pipeline.core.lineage import digest_json
from pipeline.core.params import Params, Species
from pipeline.core.paths import Paths
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import Rejection, Report
from pipeline.curation import CHECKS, calibration, captions, classes, measuring, scoring
from pipeline.curation.verdicts import KEPT, labels, recompute
from pipeline.io.files import atomic_write, model_folders, parquet, reviews
from pipeline.io.images import codecs, embedding_cache, image_cache
from pipeline.io.images.decoding import DecodeJob, decoded
from pipeline.io.terminal.progress_bars import track
from pipeline.pages.contact_sheet import contact_sheet
from pipeline.pages.curation_report import curation_report

ONLY_COLLECTED = ["kept", "reason_code", "reason"]
LATER_COLUMNS = ["author_url", "licence_text", "shows", "taxon", "evidence", "final_url", "content_type"]
ADDED = [
    "verdict",
    "code",
    "score",
    "sentence",
    "width_px",
    "height_px",
    "format",
    "frames",
    "sharpness",
    "entropy_bits",
    "medium",
    "phash",
    "dhash",
    "pixel_sha256",
    "group",
    "series",
    "clip_class",
    "clip_margin",
    "uncertain",
    "label",
    "decided_by",
    "hue_deg",
    "saturation",
    "lightness",
    "map_x",
    "map_y",
    "split",
    "file_name",
]
MEASURING = ("pipeline.curation.measuring", "pipeline.io.images.codecs", "pipeline.io.images.image_cache")
EMBEDDED_AT_ONCE = 256  # pictures between two saves
NAMED = 3  # hashes that a line names
REMEDIES = {
    "wrong_class": "if you chose them by hand, give their folder `trusted: true`; else mend `curate.classes`",
    "too_small": "collect larger ones or lower `curate.min_side_px`",
    "blurred": "collect sharper ones or lower `curate.min_sharpness`",
    "low_information": "lower `curate.min_entropy_bits`",
    "bad_aspect": "raise `curate.max_aspect`",
    "reviewed": "look again: `paleo review {key}`",
}


def curate(params: Params, paths: Paths) -> Report:
    """Fill `data/curated/<species>/` (imagefolder, tables, card) and `reports/curation/<species>/` (pages, thumbnails).

    Raises
    ------
    InputError
        When the collection or a model is missing or damaged, a review cannot be read, or nothing is left to train on.
    """
    people = reviews.read(paths.reviews)
    manifest = _read_manifest(paths)
    stored = manifest[manifest["kept"]].drop(columns=ONLY_COLLECTED).reset_index(drop=True)
    shelf = _shelf(params, paths)
    scores = _scores(stored, people, shelf, params, paths)

    verdicts = recompute(scores, people, params.curate, params.seed, CHECKS)
    table = _table(stored, scores, verdicts)
    table["caption"] = _captions(table, shelf, params, paths)
    card = _card(paths.species, table.assign(png=scores["png_sha256"]))
    _demand_training(table, manifest, card, shelf, params, paths)

    with atomic_write.fresh_folder(paths.curated) as folder:
        _write_data(folder, table, scores, shelf)
        atomic_write.write_card(folder, **card)
    with atomic_write.fresh_folder(paths.curation) as folder:
        _write_pages(folder, table, manifest, card, shelf, params.species[paths.species].name)
        atomic_write.write_card(folder, stage="curate", species=paths.species, digest=card["digest"])
    numbers = {name: card[name] for name in ("n_train", "n_holdout", "n_dropped")}
    return Report("curate", tuple(_lines(card, table, people, paths)), numbers)


def calibrate(params: Params, paths: Paths) -> Report:
    """Precision, recall and confusion of the stored scores against the labels of people; changes nothing."""
    people = reviews.read(paths.reviews)
    scores = parquet.read(paths.curated / "scores.parquet")
    said = labels(scores, people)
    if not (said != "").any():
        line = f"no picture of {paths.species} is labelled; make labels with `paleo review {paths.species}`"
        return Report("calibrate", (line,), {})
    verdicts = recompute(scores, people.iloc[:0], params.curate, params.seed, CHECKS)
    found = calibration.calibration(verdicts, said, params.curate.min_class_margin)
    numbers = {"precision": found.quality.precision, "recall": found.quality.recall}
    return Report("calibrate", tuple(_calibrated(found, params.curate.min_class_margin, paths)), numbers)


def _read_manifest(paths: Paths) -> pd.DataFrame:
    atomic_write.read_card(paths.raw)  # without it the folder is half a collection
    manifest = parquet.read(paths.raw / "manifest.parquet")
    earlier = [name for name in LATER_COLUMNS if name not in manifest]  # collected before there were such columns
    return manifest.assign(**dict.fromkeys(earlier, "")) if earlier else manifest


def _shelf(params: Params, paths: Paths) -> Path:
    """Where reduced pictures and measures lie: another folder for whatever would make other ones."""
    curate = params.curate
    ways = [curate.crop_borders, curate.image_side_px, curate.decode.max_pixels, curate.decode.max_frames]
    made_by = digest_json([ways, code_digest(MEASURING), list(scoring.MEASURED), PIL.__version__])
    return paths.work / "curate" / paths.species / made_by[:16]


def _scores(stored: pd.DataFrame, people: pd.DataFrame, shelf: Path, params: Params, paths: Paths) -> pd.DataFrame:
    """`scores.parquet`: one row per stored picture."""
    sources = params.species[paths.species].sources
    trusted = frozenset(source.label for source in sources if getattr(source, "trusted", False))
    scores = scoring.measured(stored, _look(stored, shelf, params, paths), trusted)
    if classes.competing(params.curate) and len(scoring.to_embed(scores)):
        scores = _ask_clip(scores, shelf, params, paths)
    return scoring.with_few_shot(scores, labels(scores, people), params.curate.few_shot_labels)


def _look(stored: pd.DataFrame, shelf: Path, params: Params, paths: Paths) -> dict[str, tuple | Rejection]:
    """By sha256: the measures of each picture, or why there are none. Most of it happens in child processes."""
    curate, seen = params.curate, {}
    files = {sha: _there(paths.raw / path) for sha, path in zip(stored["sha256"], stored["path"])}
    for sha in files:
        if found := image_cache.kept(shelf, sha):
            seen[sha] = _values(found)
    jobs = [DecodeJob(path, sha) for sha, path in files.items() if sha not in seen]
    look = partial(measuring.look, crop=curate.crop_borders, side_px=curate.image_side_px, shrink=codecs.shrink)
    found = decoded(jobs, curate.decode, partial(image_cache.keep, folder=shelf, look=look))
    for sha, measures in track(found, f"curate {paths.species}", len(jobs)):
        seen[sha] = measures if isinstance(measures, Rejection) else _values(measures)
    return seen


def _values(measures: Mapping[str, Any]) -> tuple:
    return tuple(measures[name] for name in scoring.MEASURED)


def _there(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path} is missing; run `paleo collect {path.parent.parent.name}` again")
    return path


def _ask_clip(scores: pd.DataFrame, shelf: Path, params: Params, paths: Paths) -> pd.DataFrame:
    """Add embeddings and the cosines to every class and medium."""
    from pipeline.vision import clip  # brings torch, which a set of trusted pictures does not need

    species = params.species[paths.species]
    model = model_folders.model_folder(paths.root, params.base.clip, marker="config.json")
    loaded = clip.load(model)
    file = shelf / f"embeddings-{model_folders.weights_digest(model)[:16]}.npz"
    rows = _embedded(scoring.to_embed(scores), file, shelf, partial(clip.embed_images, loaded, batch_size=1))
    prompts, media = (_filled(named, species) for named in (params.curate.classes, params.curate.media))
    return scoring.with_cosines(
        scoring.with_embeddings(scores, rows), prompts, media, partial(clip.embed_texts, loaded)
    )


def _embedded(wanted: pd.DataFrame, file: Path, shelf: Path, embed) -> dict[str, np.ndarray]:
    """Embeddings by pixel_sha256. One picture at a time: in a batch the last bits depend on the company."""
    rows = embedding_cache.read(file)
    missing = wanted[~wanted["pixel_sha256"].isin(rows)]
    pairs = zip(missing["pixel_sha256"], missing["sha256"])
    for number, (pixels, sha) in enumerate(track(pairs, "curate: ask CLIP", len(missing)), start=1):
        rows[pixels] = embed([image_cache.opened(shelf, sha)])[0].astype(np.float16)
        if number % EMBEDDED_AT_ONCE == 0 or number == len(missing):
            embedding_cache.write(file, rows)
    return rows


def _filled(named: Mapping[str, tuple[str, ...]], species: Species) -> dict[str, list[str]]:
    words = {"name": species.name, "class_noun": species.class_noun}
    return {name: [fill_prompt(prompt, **words) for prompt in prompts] for name, prompts in named.items()}


def _table(stored: pd.DataFrame, scores: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """`verdicts.parquet`: one row per stored picture."""
    plane = pd.DataFrame(scoring.plane(scores), columns=["map_x", "map_y"])
    measured = scores[[name for name in ADDED if name in scores.columns]]
    return pd.concat([stored, pd.concat([measured, verdicts, plane], axis=1)[ADDED]], axis=1)


def _captions(table: pd.DataFrame, shelf: Path, params: Params, paths: Paths) -> list[str]:
    """What the source says, else what a captioning model says of a kept picture, else the template."""
    most, species = params.validate_.caption_max_words, params.species[paths.species]
    said = [captions.of_source(row, most) for row in table[["caption", "title"]].to_dict("records")]
    if params.curate.captioner:
        said = _described(table, said, shelf, _captioner(paths.root, params.curate.captioner), most)
    template = fill_prompt(params.curate.caption, name=species.name, class_noun=species.class_noun)
    return [caption or template for caption in said]


def _captioner(root: Path, path: str) -> Path:
    if not (root / path).is_dir():
        raise InputError(f"the captioning model {path!r} is not there; download it or empty `curate.captioner`")
    return root / path


def _described(table: pd.DataFrame, said: list[str], shelf: Path, folder: Path, most: int) -> list[str]:
    """Let a local model describe the kept pictures that bring no words."""
    silent = [row for row in np.flatnonzero(table["verdict"] == "keep") if not said[row]]
    if not silent:
        return said
    from pipeline.vision import captioner

    loaded, described = captioner.load(folder), list(said)
    for row in track(silent, "curate: describe", len(silent)):
        found = captioner.caption_images(loaded, [image_cache.opened(shelf, table["sha256"].iloc[row])])
        described[row] = captions.clean(found[0], most)
    return described


def _write_data(folder: Path, table: pd.DataFrame, scores: pd.DataFrame, shelf: Path) -> None:
    """The kept pictures as an imagefolder, and the tables."""
    for sha, name in zip(table["sha256"], table["file_name"]):
        if name:
            image_cache.place(shelf, sha, "png", folder / name)
    kept = table[table["verdict"] == "keep"]
    parquet.write(folder / "scores.parquet", scores)
    parquet.write(folder / "verdicts.parquet", table)
    parquet.write(folder / "metadata.parquet", kept[["file_name", *kept.columns.drop("file_name")]])


def _card(species: str, table: pd.DataFrame) -> dict[str, Any]:
    """`table` is `verdicts.parquet` with the sha256 of each PNG, `png`."""
    kept = table[table["verdict"] == "keep"]
    decisive = kept[["file_name", "caption", "licence", "author", "png"]].to_dict("records")
    return {
        "stage": "curate",
        "species": species,
        # What training and its credits depend on; a further dropped picture makes no other data set.
        "digest": digest_json(decisive),
        "n_train": int((table["split"] == "train").sum()),
        "n_holdout": int((table["split"] == "holdout").sum()),
        "n_dropped": len(table) - len(kept),
        "by_code": dict(Counter(table["code"])),
    }


def _demand_training(
    table: pd.DataFrame, manifest: pd.DataFrame, card: dict, shelf: Path, params: Params, paths: Paths
) -> None:
    """InputError when nothing is left to train on; the pages are put aside, so that one can see why."""
    if card["n_train"]:
        return
    species, aside = params.species[paths.species], paths.work / "curate" / paths.species / "refused"
    with atomic_write.fresh_folder(aside) as folder:
        _write_pages(folder, table, manifest, card, shelf, species.name)
        parquet.write(folder / "verdicts.parquet", table)  # for `paleo review`: people may know better
        atomic_write.write_card(folder, **card)
    codes = Counter(table["code"])
    hints = "; ".join(REMEDIES[code].format(key=paths.species) for code, _ in codes.most_common() if code in REMEDIES)
    raise InputError(
        f"curation left no picture of {species.name} to train on: of {len(table)} it dropped {_counts(codes)}"
        f"{'; ' + hints if hints else ''}; see {(aside / 'contact_sheet.html').relative_to(paths.root)}"
    )


def _write_pages(folder: Path, table: pd.DataFrame, manifest: pd.DataFrame, card: dict, shelf: Path, name: str) -> None:
    """The report, the contact sheet and every thumbnail."""
    for sha in table.loc[table["width_px"].notna(), "sha256"]:
        image_cache.place(shelf, sha, "webp", folder / "thumbs" / f"{sha}.webp")
    atomic_write.write_text(folder / "contact_sheet.html", contact_sheet(name, table, manifest[~manifest["kept"]]))
    atomic_write.write_text(folder / "index.html", curation_report(name, table, manifest, card))


def _counts(codes: Counter) -> str:
    """Codes with their numbers, most frequent first: 8 wrong_class, 4 duplicate."""
    return ", ".join(f"{number} {code}" for code, number in sorted(codes.items(), key=lambda item: (-item[1], item[0])))


def _lines(card: dict[str, Any], table: pd.DataFrame, people: pd.DataFrame, paths: Paths) -> Iterator[str]:
    codes = _counts(Counter({code: number for code, number in card["by_code"].items() if code != KEPT}))
    kept = f"{card['n_train']} to train on, {card['n_holdout']} held out"
    dropped = f"{card['n_dropped']} dropped{f' ({codes})' if codes else ''}"
    page = (paths.curation / "index.html").relative_to(paths.root)
    yield f"curate {paths.species}: {kept}, {dropped}; see {page}"
    if reviewed := int((table["label"] != "").sum()):
        yield f"{_pictures(reviewed)} judged by people ({paths.reviews.relative_to(paths.root)})"
    if doubtful := int((table["uncertain"] != "").sum()):
        yield f"{_pictures(doubtful)} for people to look at: `paleo review {paths.species}`"
    unknown = sorted(set(people["sha256"]) - set(table["sha256"]))
    if unknown:
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        yield (
            f"warning: {paths.reviews.relative_to(paths.root)} judges {_pictures(len(unknown))} that this collection "
            f"does not have ({', '.join(sha[:16] for sha in unknown[:NAMED])}{more}); they may have left it since"
        )


def _pictures(number: int) -> str:
    return f"{number} picture{'' if number == 1 else 's'}"


def _calibrated(found: calibration.Calibration, margin: float, paths: Paths) -> Iterator[str]:
    said = f"{found.n_keep} to keep and {found.n_drop} to drop by {paths.reviews.relative_to(paths.root)}"
    yield f"curate {paths.species} without its labels, measured against them: {said}"
    yield f"precision {_percent(found.quality.precision)}, recall {_percent(found.quality.recall)}"
    yield from _shown(found.table).splitlines()
    if found.margin is not None:
        yield f"curate.min_class_margin is {margin:g}: {_both(found.so_far)} of the labelled pictures that CLIP decides"
        yield f"the highest F1 is at {found.margin:g}: {_both(found.reached)}"


def _shown(confusion: pd.DataFrame) -> str:
    table = Table("by scores", "code", "seen as", "people keep", "people drop")
    for row in confusion.itertuples():
        table.add_row(row.verdict, row.code, row.clip_class, str(row.keep), str(row.drop))
    sink = io.StringIO()
    Console(file=sink, width=100).print(table)
    return sink.getvalue()


def _both(quality: calibration.Quality) -> str:
    return f"precision {_percent(quality.precision)}, recall {_percent(quality.recall)}, F1 {quality.f1:.3f}"


def _percent(share: float) -> str:
    return "cannot be said" if np.isnan(share) else f"{100 * share:.1f} %"
