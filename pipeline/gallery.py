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
from pipeline.core.metric_spec import MetricSpec
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Rejection, Report
from pipeline.io.files import atomic_write, curve_tables, site_files, stage_outputs
from pipeline.io.files.stage_outputs import StageOutputs
from pipeline.methods.usage import usage
from pipeline.metrics import all_specs
from pipeline.pages import counted
from pipeline.pages import gallery as pages
from pipeline.pages.credits import credit
from pipeline.pages.gallery.external import match
from pipeline.pages.gallery.samples_table import ExternalPictures, SampledPictures, TableInputs, samples_table
from pipeline.pages.gallery.site import PreviewRow, Site, SpeciesResults

PAGES_OF_STAGES = ("curation.html", "contact_sheet.html", "validation.html")


def gallery(params: Params, paths: Paths) -> Report:
    """Build `site/`: the overview and one folder for each species.

    Raises
    ------
    InputError
        When a finished result lacks one of its files, or a folder of `gallery.external` is missing.
    """
    outputs = {key: stage_outputs.read(paths.of(key)) for key in params.species}
    external = {name: _external_folder(paths.root, name, path) for name, path in params.gallery.external.items()}
    specs = all_specs()
    with atomic_write.fresh_folder(paths.site) as folder:
        site = Site(
            title=params.gallery.title,
            species=[
                _results(outputs[key], params, paths.of(key), folder / key, external, specs) for key in params.species
            ],
            metrics=specs,
            cites_pbdb=any(species.taxon and species.taxon.pbdb for species in params.species.values()),
        )
        for name, text in pages.render_site(site).items():
            atomic_write.write_text(folder / name, text)
        curve_tables.write(
            {key: paths.of(key).model for key in params.species if outputs[key].model}, folder / "curves"
        )
        atomic_write.write_card(folder, stage="gallery", species=list(params.species))
    return Report("gallery", _lines(site.species, paths), {})


def _results(
    found: StageOutputs,
    params: Params,
    paths: Paths,
    page: Path,
    external: Mapping[str, Path],
    specs: Mapping[str, MetricSpec],
) -> SpeciesResults:
    """Copy the pictures of a species to the folder of its page and gather what the pages show."""
    key, species = paths.species, params.species[paths.species]
    kept = _records(found.curated.kept) if found.curated else []
    credits = {row["file_name"]: credit(row) for row in kept}
    sampled = _sampled(found, paths, page)
    model = found.model.card if found.model else {}
    metrics = found.evaluation.metrics if found.evaluation else {}
    only = len(params.species) == 1
    table = samples_table(
        TableInputs(
            key,
            species.name,
            sampled,
            snapshots=[(Path(snapshot["path"]).name, snapshot["step"]) for snapshot in model.get("snapshots", ())],
            held_out=[
                (credits[name], asdict(site_files.add_own_picture(paths.curated / name, page, f"real/{name}")))
                for name in sorted(row["file_name"] for row in kept if row["split"] == "holdout")
            ],
            external=[
                _external(name, folder, number, sampled.prompts, only, page)
                for number, (name, folder) in enumerate(external.items())
            ],
            credits=credits,
            metrics=metrics,
            specs=specs,
        )
    )
    verdicts = found.curated.verdicts if found.curated else pd.DataFrame({"verdict": [], "code": []})
    return SpeciesResults(
        key,
        species.name,
        species.class_noun,
        table,
        credits=list(credits.values()),
        dropped={
            code: int(n) for code, n in verdicts.loc[verdicts["verdict"] == "drop", "code"].value_counts().items()
        },
        pages=_add_pages(kept, paths, page),
        validation=found.validation or {},
        model=model,
        load_snippet=usage(model, _checkpoint_path(key, model, metrics)),
        losses=_records(found.model.losses) if found.model else [],
        held_out=_records(found.model.held_out) if found.model else [],
        previews=_previews(found.model.previews, page) if found.model else (),
        preview_steps=sorted(found.model.previews) if found.model else (),
        metrics=metrics,
        missing=_missing(key, found),
        warnings=_warnings(key, found),
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain dicts, None where a value is missing."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _sampled(found: StageOutputs, paths: Paths, page: Path) -> SampledPictures:
    rows = _records(found.samples.rows) if found.samples else []
    names = [row["file_name"] for row in rows]
    scores = _records(found.evaluation.rows) if found.evaluation else []
    return SampledPictures(
        rows,
        {name: asdict(site_files.add_own_picture(paths.samples / name, page, f"samples/{name}")) for name in names},
        {name: site_files.parameters_of(paths.samples / name) for name in names},
        {row["file_name"]: row for row in scores},
    )


def _previews(by_step: Mapping[int, Sequence[Path]], page: Path) -> list[PreviewRow]:
    """Copy the previews of a training to the page; a row for each prompt and seed."""
    files = {(path.name, step): path for step, paths in by_step.items() for path in paths}
    rows = []
    for name in sorted({name for name, _ in files}):
        shown: list[dict[str, Any] | None] = []
        for step in sorted(by_step):
            path = files.get((name, step))
            place = f"previews/step-{step:06d}/{name}"
            shown.append(asdict(site_files.add_own_picture(path, page, place)) if path else None)
        label = _prompt_and_seed(next(path for (of, _), path in files.items() if of == name))
        rows.append(PreviewRow(label, [{**one, "alt": label} if one else None for one in shown]))
    return rows


def _prompt_and_seed(preview: Path) -> str:
    """`Sinomacrops bondei, seed 1`, as the picture itself says."""
    texts = site_files.texts_of(preview)
    return f"{texts['prompt']}, seed {texts['seed']}" if {"prompt", "seed"} <= texts.keys() else preview.stem


def _external_folder(root: Path, name: str, path: str) -> Path:
    folder = root / path
    if not folder.is_dir():
        raise InputError(f"gallery.external.{name}: the folder {path!r} is not there; make it or mend params.yaml")
    return folder


def _external(
    name: str, folder: Path, number: int, prompts: Mapping[int, str], only: bool, page: Path
) -> ExternalPictures:
    """The pictures of an external folder for this species (the name of the page's folder), by prompt.

    They lie in a subfolder called as the species is; without one, they must be called as the prompts are, which name
    the species, unless it is the only one. On the site they have names of our own: that of a file from elsewhere may
    mean something in an address.
    """
    own = (folder / page.name).is_dir()
    here = folder / page.name if own else folder
    matched = match(site_files.picture_names(here), list(prompts.values()), numbered=own or only)
    pictures, reasons = {}, {}
    for place, files in matched.items():
        index = list(prompts)[place]
        added = [
            site_files.add_picture(here / file, page, f"external/{number}/{index:02d}-{k}{Path(file).suffix.lower()}")
            for k, file in enumerate(files)
        ]
        pictures[index] = [asdict(picture) for picture in added if not isinstance(picture, Rejection)]
        reasons[index] = "; ".join(f"{f}: {p.sentence}" for f, p in zip(files, added) if isinstance(p, Rejection))
    hint = "" if own or only else f" called as the prompt; numbered ones belong into {folder.name}/{page.name}"
    return ExternalPictures(name, pictures, reasons, f"no picture in {here.name}{hint}")


def _add_pages(kept: Sequence[Mapping[str, Any]], paths: Paths, page: Path) -> list[str]:
    """Copy the pages of curation and validation that there are, and the thumbnails; returns the pages' names."""
    sources = (paths.curation / "index.html", paths.curation / "contact_sheet.html", paths.validation / "index.html")
    pages_there = {name: source for name, source in zip(PAGES_OF_STAGES, sources, strict=True) if source.is_file()}
    thumbs = {f"thumbs/{row['sha256']}.webp" for row in kept}.union(
        *(site_files.thumbnails_of(source) for source in pages_there.values())
    )
    site_files.add_files({thumb: paths.curation / thumb for thumb in thumbs}, page)
    for name, source in pages_there.items():
        atomic_write.write_text(page / name, _linked(source, paths))
    return list(pages_there)


def _linked(source: Path, paths: Paths) -> str:
    """A page of another stage with links that hold in the site, where it lies beside the species' own page."""
    text = source.read_text(encoding="utf-8").replace('href="index.html"', f'href="{PAGES_OF_STAGES[0]}"')
    return text.replace(f'href="{paths.gallery_link(source.parent)}"', 'href="index.html"')


def _checkpoint_path(key: str, model: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The chosen snapshot, before the evaluation the last one; the base where the base was chosen."""
    snapshots = {snapshot["step"]: f"models/{key}/{snapshot['path']}" for snapshot in model.get("snapshots", ())}
    return snapshots.get(metrics.get("chosen_step", max(snapshots, default=0)), model.get("base", ""))


def _missing(key: str, found: StageOutputs) -> list[tuple[str, str]]:
    """What is not there yet, and the stage that makes it."""
    stages = (
        ("the curated pictures", found.curated, "curate"),
        ("their validation", found.validation, "validate"),
        ("the trained model", found.model, "train"),
        ("the samples", found.samples, "sample"),
        ("the metrics", found.evaluation, "evaluate"),
    )
    return [(what, f"dvc repro {stage}@{key}") for what, there, stage in stages if there is None]


def _warnings(key: str, found: StageOutputs) -> list[str]:
    """Results that belong to different data or trainings: shown together, but not without saying so."""
    again = f"paleo run {key} brings them together again."
    warnings = []
    if found.curated:
        digest = found.curated.card["digest"]
        if found.validation and found.validation["dataset_digest"] != digest:
            warnings.append(f"The validation belongs to earlier pictures than those shown here; {again}")
        if found.model and found.model.card["dataset_digest"] != digest:
            warnings.append(f"The model belongs to earlier pictures than those shown here; {again}")
    if found.evaluation and not found.evaluation.metrics.get("better_than_base", True):
        warnings.append("No step is better than the base model: look at the pictures before you use one.")
    if found.model:
        for what, output in (("The samples", found.samples), ("The metrics", found.evaluation)):
            lineage = output.card.get("lineage_id") if output else None
            if lineage not in (None, found.model.card["lineage_id"]):
                warnings.append(f"{what} belong to another training than the model; {again}")
    return warnings


def _lines(species: Sequence[SpeciesResults], paths: Paths) -> tuple[str, ...]:
    samples = sum(len(row) * len(each.samples.seeds) for each in species for row in each.samples.cells)
    page = (paths.site / "index.html").relative_to(paths.root)
    first = f"{page}: {counted(len(species), 'species', 'species')}, {counted(samples, 'picture')} in the tables"
    lacking = [
        f"{each.key}: {', '.join(what for what, _ in each.missing)} not there yet" for each in species if each.missing
    ]
    return (first, *lacking, *(f"warning: {each.key}: {warning}" for each in species for warning in each.warnings))
