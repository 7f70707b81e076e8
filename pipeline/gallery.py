"""Stage `gallery`: static pages under `site/` that open from disk.

A species that lacks results gets a page all the same: with what is there, and how to make the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import InputError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Rejection, Report
from pipeline.io.files import atomic_write, site_files
from pipeline.io.files.stage_outputs import Results, results
from pipeline.pages import counted
from pipeline.pages.credits import credit, credits_file, site_credits
from pipeline.pages.external import match
from pipeline.pages.gallery import Animal, overview_page, species_page
from pipeline.pages.suite import Outside, Sampled, prompts_of, suite


def gallery(params: Params, paths: Paths) -> Report:
    """Build `site/`: the overview and one folder for each species.

    Raises
    ------
    InputError
        When a finished result lacks one of its files, or a folder of `gallery.external` is missing.
    """
    found = {key: results(paths.of(key)) for key in params.species}
    folders = {name: _external_folder(paths.root, name, path) for name, path in params.gallery.external.items()}

    with atomic_write.fresh_folder(paths.site) as folder:
        animals = [_animal(key, found[key], params, paths.of(key), folders, folder / key) for key in params.species]
        for animal in animals:
            atomic_write.write_text(folder / animal.key / "index.html", species_page(params.gallery.title, animal))
        atomic_write.write_text(folder / "index.html", overview_page(params.gallery.title, animals))
        cites_pbdb = any(species.taxon and species.taxon.pbdb for species in params.species.values())
        credits = [(animal.name, animal.credits) for animal in animals if animal.credits]
        atomic_write.write_text(folder / "CREDITS.md", site_credits(credits, cites_pbdb=cites_pbdb))
        atomic_write.write_card(folder, stage="gallery", species=list(params.species))
    return Report("gallery", _lines(animals, paths), {})


def _animal(key: str, found: Results, params: Params, paths: Paths, folders: Mapping[str, Path], page: Path) -> Animal:
    """Copy the pictures of a species to its page's folder and gather what the page tells."""
    species = params.species[key]
    kept = _records(found.curated.kept) if found.curated else []
    credits = {row["file_name"]: credit(row) for row in kept}
    sampled = _sampled(found, paths, page)
    prompts, only = prompts_of(sampled.rows), len(params.species) == 1
    table = suite(
        key,
        species.name,
        sampled,
        snapshots=[(Path(s["path"]).name, s["step"]) for s in found.model.card["snapshots"]] if found.model else [],
        held_out=_held_out(kept, credits, paths, page),
        outside=[_outside(name, folder, n, prompts, only, page) for n, (name, folder) in enumerate(folders.items())],
        credits=credits,
        metrics=found.evaluation.metrics if found.evaluation else {},
    )
    pages = _add_files(kept, species.name, list(credits.values()), paths, page)
    return Animal(
        key,
        species.name,
        species.class_noun,
        table,
        credits=list(credits.values()),
        dropped=_dropped(found),
        pages=pages,
        validation=found.validation or {},
        model=found.model.card if found.model else {},
        losses=_records(found.model.losses) if found.model else [],
        metrics=found.evaluation.metrics if found.evaluation else {},
        missing=_missing(key, found),
        warnings=_warnings(key, found),
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain dicts, None where a value is missing."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _sampled(found: Results, paths: Paths, page: Path) -> Sampled:
    rows = _records(found.samples.rows) if found.samples else []
    names = [row["file_name"] for row in rows]
    scores = _records(found.evaluation.rows) if found.evaluation else []
    return Sampled(
        rows,
        {name: asdict(site_files.add_own_picture(paths.samples / name, page, f"samples/{name}")) for name in names},
        {name: site_files.parameters_of(paths.samples / name) for name in names},
        {row["file_name"]: row for row in scores},
    )


def _held_out(kept: Sequence[Mapping], credits: Mapping[str, Mapping], paths: Paths, page: Path) -> list[tuple]:
    """(credit, picture) of the pictures that were never trained on."""
    names = sorted(row["file_name"] for row in kept if row["split"] == "holdout")
    return [
        (credits[name], asdict(site_files.add_own_picture(paths.curated / name, page, f"real/{name}")))
        for name in names
    ]


def _external_folder(root: Path, name: str, path: str) -> Path:
    folder = root / path
    if not folder.is_dir():
        raise InputError(f"gallery.external.{name}: the folder {path!r} is not there; make it or mend params.yaml")
    return folder


def _outside(name: str, folder: Path, number: int, prompts: Mapping[int, str], only: bool, page: Path) -> Outside:
    """The pictures of an outside folder for this species (the name of the page's folder), by prompt.

    They lie in a subfolder called as the species is; without one, they must be called as the prompts are, which name
    the species, unless it is the only one.
    """
    own = (folder / page.name).is_dir()
    here = folder / page.name if own else folder
    places = match(site_files.picture_names(here), list(prompts.values()), numbered=own or only)
    pictures, reasons = {}, {}
    for index, files in ((list(prompts)[place], files) for place, files in places.items()):
        added = [_external(here / file, page, f"external/{number}/{index:02d}-{k}") for k, file in enumerate(files)]
        pictures[index] = [asdict(picture) for picture in added if not isinstance(picture, Rejection)]
        reasons[index] = "; ".join(f"{f}: {p.sentence}" for f, p in zip(files, added) if isinstance(p, Rejection))
    hint = "" if own or only else f" called as the prompt; numbered ones belong into {folder.name}/{page.name}"
    return Outside(name, pictures, reasons, f"no picture in {here.name}{hint}")


def _external(source: Path, page: Path, name: str) -> site_files.SiteImage | Rejection:
    """Under a name of our own: that of a file from elsewhere may mean something in an address."""
    return site_files.add_picture(source, page, f"{name}{source.suffix.lower()}")


def _add_files(kept: Sequence[Mapping], name: str, credits: list, paths: Paths, page: Path) -> list[str]:
    """What the page links to: thumbnails of the credits, the pages of curation and validation, CREDITS.md.

    Returns the names of the pages that there are.
    """
    page.mkdir(parents=True, exist_ok=True)
    pages = {
        "curation.html": paths.curation / "index.html",
        "contact_sheet.html": paths.curation / "contact_sheet.html",
        "validation.html": paths.validation / "index.html",
    }
    there = [name for name, source in pages.items() if source.is_file()]
    thumbs = {f"thumbs/{row['sha256']}.webp" for row in kept}.union(
        *(site_files.thumbnails_of(pages[name]) for name in there)
    )
    site_files.add_files({**{thumb: paths.curation / thumb for thumb in thumbs}, **pages}, page)
    if credits:
        atomic_write.write_text(page / "CREDITS.md", credits_file(name, credits))
    return there


def _dropped(found: Results) -> dict[str, int]:
    if not found.curated:
        return {}
    verdicts = found.curated.verdicts
    return {code: int(n) for code, n in verdicts.loc[verdicts["verdict"] == "drop", "code"].value_counts().items()}


def _missing(key: str, found: Results) -> list[tuple[str, str]]:
    """What is not there yet, and the stage that makes it."""
    stages = (
        ("the curated pictures", found.curated, "curate"),
        ("their validation", found.validation, "validate"),
        ("the trained model", found.model, "train"),
        ("the samples", found.samples, "sample"),
        ("the metrics", found.evaluation, "evaluate"),
    )
    return [(what, f"dvc repro {stage}@{key}") for what, there, stage in stages if there is None]


def _warnings(key: str, found: Results) -> list[str]:
    """Results that belong to different data or trainings: shown together, but not without saying so."""
    again = f"paleo run {key} brings them together again."
    digests = {
        "the validation": found.validation["dataset_digest"] if found.validation else None,
        "the model": found.model.card["dataset_digest"] if found.model else None,
    }
    lineages = {
        "The samples": found.samples.card["lineage_id"] if found.samples else None,
        "The metrics": found.evaluation.card.get("lineage_id") if found.evaluation else None,
    }
    old = [
        what for what, digest in digests.items() if found.curated and digest not in (None, found.curated.card["digest"])
    ]
    foreign = [
        what
        for what, lineage in lineages.items()
        if found.model and lineage not in (None, found.model.card["lineage_id"])
    ]
    sentences = [
        f"{what[0].upper()}{what[1:]} belongs to earlier pictures than those shown here; {again}" for what in old
    ]
    if found.evaluation and not found.evaluation.metrics.get("better_than_base", True):
        sentences.append("No step is better than the base model: look at the pictures before you use one.")
    return [*sentences, *(f"{what} belong to another training than the model; {again}" for what in foreign)]


def _lines(animals: Sequence[Animal], paths: Paths) -> tuple[str, ...]:
    samples = sum(len(row) * len(animal.suite.seeds) for animal in animals for row in animal.suite.cells)
    page = (paths.site / "index.html").relative_to(paths.root)
    first = f"{page}: {counted(len(animals), 'species', 'species')}, {counted(samples, 'picture')} in the tables"
    lacking = [f"{a.key}: {', '.join(what for what, _ in a.missing)} not there yet" for a in animals if a.missing]
    return (first, *lacking, *(f"warning: {a.key}: {warning}" for a in animals for warning in a.warnings))
