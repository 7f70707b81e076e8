"""`paleo register`: put the chosen step of each species into the registry, one version per lineage and step.

Reads the cards and tables that the stages have left; writes to MLflow, and `.work/release/<species>.json` for the
table at the end of `paleo run`. It can be repeated at any time: what is there stays, what a crash left is finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.commands import release_pages
from pipeline.core.errors import InputError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Report
from pipeline.core.releases import CHALLENGER, CHAMPION, ModelVersion, ReleaseLinks, with_alias, with_identity
from pipeline.core.server_addresses import ServerAddresses
from pipeline.io import server_addresses, tracking
from pipeline.io.files import atomic_write, parquet, site_files, stage_outputs
from pipeline.io.files.model_folders import model_folder, weights_digest
from pipeline.io.images import codecs, contact_sheets
from pipeline.io.tracking import mlflow_registry, mlflow_release, mlflow_store, provenance
from pipeline.registry import promotion_gate
from pipeline.registry.model_card import model_card
from pipeline.registry.release import ReleaseCandidate, ReleaseInputs, candidate, credits_csv, release

if TYPE_CHECKING:
    from mlflow import MlflowClient

PREVIEWED, PREVIEW_TILE_PX = 5, 144  # pictures in a row of the model card's, and their size
# Tags that name what a version was made from, and what they are called on its model card.
MADE_FROM = {"git_commit": "commit", "dataset_tag": "data", "dvc_md5": "DVC", "lineage_id": "lineage"}


def register(params: Params, species: Sequence[Paths], dry_run: bool = False) -> Report:
    """Register every species that is not registered yet, and let the better one be champion.

    A version is one step of one training: when another step of a registered training is chosen now, it becomes a
    version of its own.

    Raises
    ------
    InputError
        When a species is not evaluated as it is now; before anything is registered.
    ServiceError
        When the registry does not answer; what was registered stays, and repeating does the rest.
    """
    candidates = [read_candidate(paths) for paths in species]
    if dry_run:
        lines = [
            f"{each.paths.species}: step {each.step} of {each.card['lineage_id']}, {each.gain}" for each in candidates
        ]
        return Report("register", (*lines, "dry run: register did nothing"))
    client = mlflow_store.connect(species[0].root)
    return Report("register", tuple(_register(client, params, each) for each in candidates))


def refresh_links(root: Path) -> Report:
    """Write the pages below `releases/` with the servers' present addresses; nothing is registered."""
    written = release_pages.write(root)
    return Report("register", (f"{len(written)} pages written in {release_pages.FOLDER}/",))


def read_candidate(paths: Paths) -> ReleaseCandidate:
    """What the cards of a species say.

    Raises
    ------
    InputError
        When the species is not trained, sampled and evaluated, or these three are not of one training.
    """
    details = paths.evaluation / "details"
    if not (paths.evaluation / "metrics.json").is_file() or not (details / atomic_write.CARD).is_file():
        raise InputError(f"{paths.species} is not evaluated yet; run `paleo run {paths.species}` first")
    return candidate(
        paths,
        card=atomic_write.read_card(paths.model),
        samples_card=atomic_write.read_card(paths.samples),
        evaluation_card=atomic_write.read_card(details),
        metrics=stage_outputs.metrics(paths.evaluation),
    )


def _register(client: MlflowClient, params: Params, chosen: ReleaseCandidate) -> str:
    """One species; the line that is printed."""
    species = chosen.paths.species
    with mlflow_store.mlflow_errors(client.tracking_uri):
        known = mlflow_registry.finish_promotion(client, species)
    new = with_identity(known, chosen.identity) is None
    if new:
        inputs = _read_inputs(params, chosen)
        mlflow_release.add_version(client, chosen.paths.root, release(params, chosen, inputs))
    with mlflow_store.mlflow_errors(client.tracking_uri):
        version, refusal = _set_aliases(client, params, chosen)
        _describe(client, params, chosen, version)
        release_pages.add(chosen.paths.root, client, species, params.species[species].name)
        training = client.get_run(version.run_id).info if version.run_id else None
    at = server_addresses.read(chosen.paths.root)
    links = {"gallery": at.species(species), "version": at.model_version(species, version.number)}
    if training:
        links["training"] = at.training(training.experiment_id, training.run_id)
    _note(chosen, version, links)
    if not new:
        return f"{species}: step {chosen.step} is already registered as {version}{refusal}"
    siblings = [each for each in known if each.tags.get("lineage_id") == chosen.card["lineage_id"]]
    other = f" (another step of the training of version {siblings[-1].number})" if siblings else ""
    return f"{species}: {version}, step {chosen.step}{other}, {chosen.gain}{refusal}"


def _set_aliases(client: MlflowClient, params: Params, chosen: ReleaseCandidate) -> tuple[ModelVersion, str]:
    """Name the newest version challenger, and the chosen one champion if it passes the gate; why it does not, if so."""
    known = mlflow_registry.set_challenger(client, mlflow_registry.versions(client, chosen.paths.species))
    version = _registered(known, chosen)
    champion = with_alias(known, CHAMPION)
    if "gate_report" in version.tags and (champion or "promotion" in version.tags):
        return version, ""  # was compared when it was registered; the floor of a first champion may have changed since
    verdict = promotion_gate.compare(version, champion, params.register_)
    if verdict.beats:
        by, at = provenance.user(), _now()
        mlflow_registry.promote(client, version, champion=champion, by=by, at=at, report=verdict.sentence)
    else:
        mlflow_registry.refuse(client, version, verdict.sentence)
    version = _registered(mlflow_registry.versions(client, version.species), chosen)
    serves = (
        f"; `paleo generate` and models:/{version.species}@{CHALLENGER} use the newest version" if not champion else ""
    )
    return version, "" if verdict.beats else f"; not champion: {verdict.sentence}{serves}"


def _describe(client: MlflowClient, params: Params, chosen: ReleaseCandidate, version: ModelVersion) -> None:
    """Write the model card, with links to the gallery and the run of the flow as they are served now."""
    species, at = params.species[chosen.paths.species], server_addresses.read(chosen.paths.root)
    licences = _pictures(chosen.paths)["licence"].value_counts().sort_index().to_dict()
    tags, noun = version.tags, species.class_noun
    made_from = {what: tags[name] for name, what in MADE_FROM.items() if tags.get(name)}

    def card(links: ReleaseLinks) -> str:
        return model_card(
            chosen.card, chosen.metrics, class_noun=noun, licences=licences, made_from=made_from, links=links
        )

    mlflow_release.describe(client, version, card, _places(chosen.paths, version, at))


def _places(paths: Paths, version: ModelVersion, at: ServerAddresses) -> dict[str, str]:
    """Links out of MLflow, by what they show."""
    tags, remote = version.tags, provenance.web_address(paths.root)
    commit, flow_run = tags.get("git_commit", ""), tags.get("prefect_flow_run_id", "")
    return {
        "gallery": at.species(paths.species),
        **({f"run {tags.get('prefect_flow_run_name', '')}".strip(): at.flow_run(flow_run)} if flow_run else {}),
        **({f"commit {commit[:10]}": f"{remote}/commit/{commit}"} if commit and remote else {}),
    }


def _registered(known: Sequence[ModelVersion], chosen: ReleaseCandidate) -> ModelVersion:
    version = with_identity(known, chosen.identity)
    if version is None:
        raise InputError(f"the version of {chosen.paths.species} was removed meanwhile; run `paleo register` again")
    return version


def _read_inputs(params: Params, chosen: ReleaseCandidate) -> ReleaseInputs:
    """Everything else that the release is made from; writes CREDITS.csv, which is stored with it."""
    paths, root = chosen.paths, chosen.paths.root
    curated, samples = _pictures(paths), parquet.read(paths.samples / "samples.parquet")
    credits_file = paths.work / "release" / paths.species / "CREDITS.csv"
    atomic_write.write_text(credits_file, credits_csv(curated))
    whole = (chosen.checkpoint / "model_index.json").is_file()
    base = None if whole else model_folder(root, params.base.path)
    attachments = {
        mlflow_release.GALLERY: _gallery_page(paths),
        mlflow_release.PREVIEW: _preview(chosen, samples),
        "evaluation": paths.evaluation / "details/verdict.json",
        "credits": credits_file,
    }
    return ReleaseInputs(
        weights_digest=weights_digest(chosen.checkpoint),
        base=base,
        base_bytes=_folder_bytes(base) if base else 0,
        clip_digest=weights_digest(model_folder(root, params.base.clip, marker="config.json")),
        curated=curated,
        samples=samples,
        losses=pd.read_csv(paths.model / "train.csv").to_dict("records"),
        credits_file=credits_file,
        attachments={folder: path for folder, path in attachments.items() if path and path.exists()},
        contact_sheets=_contact_sheets(chosen, samples),
        training_params=tracking.training_params(params, paths.species),
        deciding_params=tracking.deciding_params(params),
        provenance=provenance.provenance(root),
        dataset_version=provenance.dataset_version(root, paths.species),
    )


def _pictures(paths: Paths) -> pd.DataFrame:
    return parquet.read(paths.curated / "metadata.parquet")


def _gallery_page(paths: Paths) -> Path | None:
    """The species' page of the gallery with its pictures inside: MLflow shows one file, and nothing beside it."""
    page = paths.site / paths.species / "index.html"
    if not page.is_file():
        return None
    address = server_addresses.read(paths.root).species(paths.species)
    whole = paths.work / "release" / paths.species / "index.html"
    atomic_write.write_text(whole, site_files.self_contained(page, address))
    return whole


def _contact_sheets(chosen: ReleaseCandidate, samples: pd.DataFrame) -> dict[int, Path]:
    """A PNG of all samples for the base and each snapshot, prompts down, seeds across."""
    sheets = {}
    for step, rows in samples.sort_values(["prompt_index", "seed"]).groupby("step"):
        by_prompt = rows.groupby("prompt_index")
        pictures = [(str(of_one["prompt"].iloc[0]), _files(chosen.paths, of_one)) for _, of_one in by_prompt]
        title = f"{chosen.card['name']} · {_label(chosen, int(step))}"
        sheets[int(step)] = _written(chosen.paths, f"contact-sheet-{step:06d}.png", title, pictures)
    return sheets


def _preview(chosen: ReleaseCandidate, samples: pd.DataFrame) -> Path:
    """A PNG for the model card: what the base and the chosen step drew for the first prompts with the first seed."""
    first = samples[samples["seed"] == samples["seed"].min()].sort_values("prompt_index")
    pictures = [
        (_label(chosen, step), _files(chosen.paths, first[first["step"] == step])[:PREVIEWED])
        for step in dict.fromkeys((0, chosen.step))
    ]
    return _written(chosen.paths, mlflow_release.preview_name(chosen.step), "", pictures, PREVIEW_TILE_PX)


def _label(chosen: ReleaseCandidate, step: int) -> str:
    return f"step {step}{' (chosen)' if step == chosen.step else ''}" if step else "base"


def _files(paths: Paths, samples: pd.DataFrame) -> list[Path]:
    return [paths.samples / name for name in samples["file_name"]]


def _written(
    paths: Paths, name: str, title: str, rows: list[tuple[str, list[Path]]], tile_px: int = contact_sheets.TILE_PX
) -> Path:
    path = paths.work / "release" / paths.species / name
    atomic_write.write_bytes(path, codecs.png(contact_sheets.contact_sheet(title, rows, tile_px)))
    return path


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _note(chosen: ReleaseCandidate, version: ModelVersion, links: Mapping[str, str]) -> None:
    """For the table at the end of `paleo run`, and the links that the flow publishes."""
    noted = {
        "species": version.species,
        "name": version.species,
        "version": version.number,
        "alias": version.alias,
        "aliases": version.aliases,
        **chosen.identity,
        "step": chosen.step,
        "links": dict(links),
    }
    atomic_write.write_json(chosen.paths.work / "release" / f"{version.species}.json", noted)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
