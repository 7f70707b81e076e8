"""curate: from what was collected to what is worth training on.

Every stored picture gets a verdict with a code, a score and a sentence, and a place on the contact sheet. Nothing is
deleted: `data/raw` stays as it is, and a threshold changed in params.yaml gives other verdicts on the same files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_bytes, digest_json
from pipeline.core.params import Params, Species, fill_prompt
from pipeline.core.paths import Paths
from pipeline.core.records import Rejection, Report
from pipeline.curation import CHECKS
from pipeline.curation.hashes import text
from pipeline.curation.looks import Look, Task
from pipeline.curation.measuring import look_at
from pipeline.curation.split import held_out
from pipeline.curation.verdicts import KEPT, Verdict, judge, undecoded
from pipeline.io import images, outputs, tables, weights
from pipeline.io.progress import track
from pipeline.pages.contact_sheet import contact_sheet

THUMB_PX = 256
ONLY_COLLECTED = ["kept", "reason_code", "reason"]
ADDED = {
    "verdict": "str", "code": "str", "score": "float64", "sentence": "str", "width_px": "Int64", "height_px": "Int64",
    "sharpness": "float64", "phash": "str", "dhash": "str", "pixel_sha256": "str", "group": "str", "clip_class": "str",
    "clip_margin": "float64", "split": "str", "file_name": "str",
}  # fmt: skip
REMEDIES = {
    "wrong_class": "if you chose them by hand, give their folder `trusted: true`; else mend `curate.classes`",
    "too_small": "collect larger ones or lower `curate.min_side_px`",
    "blurred": "collect sharper ones or lower `curate.min_sharpness`",
}


def curate(params: Params, paths: Paths) -> Report:
    """Fill `data/curated/<species>/`: an imagefolder, both tables, the contact sheet, the card."""
    species = params.species[paths.species]
    manifest = _read_manifest(paths)
    stored = manifest[manifest["kept"]].drop(columns=ONLY_COLLECTED)
    seen = _decode(stored, params, species, paths)

    looks = [look for look in seen.values() if isinstance(look, Look)]
    verdicts = judge(looks, CHECKS, _task(params, species, paths.root))
    table = _table(stored, seen, verdicts, params, species)
    thumbs = {look.sha256: images.thumbnail(look.image, THUMB_PX) for look in looks}
    page = contact_sheet(species.name, table.to_dict("records"), manifest[~manifest["kept"]].to_dict("records"), thumbs)
    _demand_training(table, species, page, paths)

    with outputs.fresh_folder(paths.curated) as folder:
        pngs = _write_pictures(folder, table, looks, thumbs)
        tables.write(folder / "verdicts.parquet", table)
        kept = table[table["verdict"] == "keep"]
        tables.write(folder / "metadata.parquet", kept[["file_name", *kept.columns.drop("file_name")]])
        outputs.write_text(folder / "contact_sheet.html", page)
        card = _card(paths.species, table, pngs)
        outputs.write_card(folder, **card)
    return Report("curate", _lines(card, paths), {name: card[name] for name in ("n_train", "n_holdout", "n_dropped")})


def _read_manifest(paths: Paths) -> pd.DataFrame:
    outputs.read_card(paths.raw)  # without it the folder is half a collection
    return tables.read(paths.raw / "manifest.parquet")


def _decode(stored: pd.DataFrame, params: Params, species: Species, paths: Paths) -> dict[str, Look | Rejection]:
    """By sha256: what the checks see of each picture, or why it cannot be seen."""
    trusted = {source.label for source in species.sources if getattr(source, "trusted", False)}
    rows = track(stored.to_dict("records"), f"curate {paths.species}")
    return {row["sha256"]: _look(row, params, paths.raw, row["source"] in trusted) for row in rows}


def _look(row: dict[str, Any], params: Params, raw: Path, trusted: bool) -> Look | Rejection:
    path = raw / row["path"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); run `paleo collect {raw.name}` again") from error
    image = images.decode(content, params.curate.decode.max_pixels)
    if isinstance(image, Rejection):
        return image
    return look_at(row["sha256"], row["source_id"], image, images.shrink(image, params.curate.image_side_px), trusted)


def _task(params: Params, species: Species, root: Path) -> Task:
    words = {"name": species.name, "class_noun": species.class_noun}
    classes = {
        name: [fill_prompt(prompt, **words) for prompt in prompts] for name, prompts in params.curate.classes.items()
    }
    clip = _LazyClip(root, params.base.clip)
    return Task(params.curate, classes, clip.images, clip.texts)


class _LazyClip:
    """CLIP, loaded when the first picture is to be asked: without one, torch is not even imported."""

    def __init__(self, root: Path, path: str) -> None:
        self._root, self._path, self._clip = root, path, None

    def images(self, pictures: Sequence[Image.Image]):
        from pipeline.families.clip import embed_images

        return embed_images(self._loaded(), pictures)

    def texts(self, sentences: Sequence[str]):
        from pipeline.families.clip import embed_texts

        return embed_texts(self._loaded(), sentences)

    def _loaded(self):
        if self._clip is None:
            from pipeline.families.clip import load

            self._clip = load(weights.model_folder(self._root, self._path, marker="config.json"))
        return self._clip


def _table(stored: pd.DataFrame, seen: dict, verdicts: dict[str, Verdict], params: Params, species: Species):
    """`verdicts.parquet`: one row per stored picture."""
    final = {sha: verdicts[sha] if sha in verdicts else undecoded(seen[sha]) for sha in stored["sha256"]}
    kept_groups = [verdict.notes["group"] for verdict in final.values() if not verdict.rejection]
    apart = held_out(kept_groups, params.seed, params.curate.holdout_fraction)
    rows = [_row(sha, seen[sha], verdict, apart) for sha, verdict in final.items()]
    added = pd.DataFrame(rows, columns=list(ADDED), index=stored.index).astype(ADDED)
    captions = [_caption(row, params, species) for row in stored.to_dict("records")]
    return pd.concat([stored.assign(caption=captions), added], axis=1).reset_index(drop=True)


def _row(sha256: str, look: Look | Rejection, verdict: Verdict, apart: frozenset[str]) -> dict[str, Any]:
    row = {"code": verdict.code, "score": verdict.score, "sentence": verdict.sentence, "clip_class": "", "group": "",
           "verdict": "drop", "split": "", "file_name": "", "phash": "", "dhash": "", "pixel_sha256": ""}  # fmt: skip
    if isinstance(look, Look):
        row |= {"width_px": look.width_px, "height_px": look.height_px, "sharpness": look.sharpness}
        row |= {"pixel_sha256": look.pixel_sha256, **verdict.notes}
        row |= {"phash": text(look.hashes.phash), "dhash": text(look.hashes.dhash)}
    if not verdict.rejection:
        split = "holdout" if verdict.notes["group"] in apart else "train"
        row |= {"verdict": "keep", "split": split, "file_name": f"{split}/{sha256[:16]}.png"}
    return row


def _caption(row: dict[str, Any], params: Params, species: Species) -> str:
    own = row["caption"].strip() or row["title"].strip()
    return own or fill_prompt(params.curate.caption, name=species.name, class_noun=species.class_noun)


def _demand_training(table: pd.DataFrame, species: Species, page: str, paths: Paths) -> None:
    """InputError when nothing is left to train on; the contact sheet is put aside, so that one can see why."""
    if (table["split"] == "train").any():
        return
    sheet = paths.work / "curate" / paths.species / "contact_sheet.html"
    outputs.write_text(sheet, page)
    codes = Counter(table["code"])
    hints = "; ".join(REMEDIES[code] for code, _ in codes.most_common() if code in REMEDIES)
    raise InputError(
        f"curation left no picture of {species.name} to train on: of {len(table)} it dropped {_counts(codes)}"
        f"{'; ' + hints if hints else ''}; see {sheet.relative_to(paths.root)}"
    )


def _counts(codes: Counter) -> str:
    """Codes with their numbers, most frequent first: 8 wrong_class, 4 duplicate."""
    return ", ".join(f"{number} {code}" for code, number in sorted(codes.items(), key=lambda item: (-item[1], item[0])))


def _write_pictures(folder: Path, table: pd.DataFrame, looks: list[Look], thumbs: dict[str, bytes]) -> dict[str, str]:
    """Kept pictures as PNG and every thumbnail; returns the sha256 of each PNG by its file name."""
    names = dict(zip(table["sha256"], table["file_name"]))
    digests = {}
    for look in looks:
        outputs.write_bytes(folder / "thumbs" / f"{look.sha256}.webp", thumbs[look.sha256])
        if names[look.sha256]:
            content = images.png(look.image)
            outputs.write_bytes(folder / names[look.sha256], content)
            digests[names[look.sha256]] = digest_bytes(content)
    return digests


def _card(species: str, table: pd.DataFrame, pngs: dict[str, str]) -> dict[str, Any]:
    kept = table[table["verdict"] == "keep"]
    decisive = kept[["file_name", "caption", "licence", "author"]].to_dict("records")
    return {
        "stage": "curate",
        "species": species,
        # What training and its credits depend on; a further dropped picture makes no other data set.
        "digest": digest_json([{**row, "png": pngs[row["file_name"]]} for row in decisive]),
        "n_train": int((table["split"] == "train").sum()),
        "n_holdout": int((table["split"] == "holdout").sum()),
        "n_dropped": len(table) - len(kept),
        "by_code": dict(Counter(table["code"])),
    }


def _lines(card: dict[str, Any], paths: Paths) -> tuple[str, ...]:
    codes = _counts(Counter({code: number for code, number in card["by_code"].items() if code != KEPT}))
    kept = f"{card['n_train']} to train on, {card['n_holdout']} held out"
    dropped = f"{card['n_dropped']} dropped{f' ({codes})' if codes else ''}"
    sheet = (paths.curated / "contact_sheet.html").relative_to(paths.root)
    return (f"curate {paths.species}: {kept}, {dropped}; see {sheet}",)
