"""Opening a registered version: its files on this machine, its config, and the base model that it needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from pipeline.core.errors import InputError
from pipeline.core.releases import CHAMPION, ModelVersion, serving, with_number
from pipeline.io.files.atomic_write import fresh_folder
from pipeline.io.files.model_folders import weights_digest
from pipeline.io.tracking.artifact_locations import local_path
from pipeline.io.tracking.mlflow_registry import versions
from pipeline.io.tracking.mlflow_store import connect, is_there, mlflow_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

BASE_MODEL = "PALEO_BASE_MODEL"  # environment variable: the folder of the base model below an adapter


@dataclass(frozen=True)
class RegisteredModel:
    """A version with its files on this machine."""

    version: ModelVersion
    checkpoint: Path
    base: Path | None
    """The folder of the base model below the checkpoint; None where the checkpoint is complete."""
    config: Mapping[str, Any]
    """As `registry.model_config` wrote it."""

    @property
    def note(self) -> str:
        """Where it is no champion, why; "" for the champion."""
        if CHAMPION in self.version.aliases:
            return ""
        why = self.version.tags.get("gate_report", "it was not compared")
        species = self.version.species
        return f"{species} has no champion, so its newest version is used: {self.version} ({why})"


def has_version(root: Path, species: str) -> bool:
    """Is there a store with a version of the species? None is made.

    Raises
    ------
    ServiceError
        When the store does not answer.
    """
    if not is_there(root):
        return False
    client = connect(root)
    with mlflow_errors(client.tracking_uri):
        return bool(versions(client, species))


def open_version(root: Path, species: str, number: int | None = None) -> RegisteredModel:
    """A version by its number, else the champion, else the newest; its files are fetched once if they lie on a server.

    Raises
    ------
    InputError
        When there is no such version or none at all, its files are gone, or its base model is not here.
    ServiceError
        When the registry does not answer.
    """
    client = connect(root)
    with mlflow_errors(client.tracking_uri):
        known = versions(client, species)
        chosen = serving(known) if number is None else with_number(known, species, number)
        if chosen is None:
            raise InputError(f"{species} has no champion yet; run `paleo run {species}` first")
        folder = _files(client, root, chosen)
    described = YAML(typ="safe").load((folder / "MLmodel").read_text(encoding="utf-8"))["flavors"]["python_function"]
    stored = {name: folder / entry["path"] for name, entry in described["artifacts"].items()}
    config = described["config"]
    return RegisteredModel(chosen, stored["checkpoint"], base_folder(stored.get("base"), config, root), config)


def base_folder(stored: str | Path | None, config: Mapping[str, Any], root: Path) -> Path | None:
    """The base model below a checkpoint, known by the digest of its weights; None where the checkpoint is complete.

    It is stored with the version, or lies where PALEO_BASE_MODEL says or under the path of the training, relative to
    `root`. `mlflow.pyfunc.load_model(…, model_config={"base": FOLDER})` gives another path.

    Raises
    ------
    InputError
        When it is at none of these places: which base that is, and how to name its folder.
    """
    if stored or not config["needs_base"]:
        return Path(stored) if stored else None
    places = [Path(os.environ[BASE_MODEL])] if os.environ.get(BASE_MODEL) else []
    places.append(root / config["base"])
    for folder in places:
        if folder.is_dir() and weights_digest(folder) == config["base_digest"]:
            return folder
    found = ", ".join(f"{folder} {'has other weights' if folder.is_dir() else 'is not there'}" for folder in places)
    name, digest = config["base"], config["base_digest"][:12]
    raise InputError(
        f"this model needs its base model {name!r} (sha256 of its weights {digest}…), but {found}; "
        f"name its folder by {BASE_MODEL}=FOLDER or mlflow.pyfunc.load_model(…, model_config={{'base': FOLDER}})"
    )


def _files(client: MlflowClient, root: Path, version: ModelVersion) -> Path:
    """The version's MLflow model folder on this machine."""
    here = local_path(version.source)
    if here is not None and not here.is_dir():
        raise InputError(
            f"the files of {version.species} version {version.number} are not in {here}; put them back, or remove "
            f"the version in MLflow and run `paleo register {version.species}`"
        )
    return here or _downloaded(client, root, version)


def _downloaded(client: MlflowClient, root: Path, version: ModelVersion) -> Path:
    from mlflow.artifacts import download_artifacts

    kept = root / ".work/registry" / f"{version.species}-{version.tags['lineage_id']}-{version.tags['step']}"
    if not kept.is_dir():
        with fresh_folder(kept) as building:
            download_artifacts(artifact_uri=version.source, dst_path=str(building), tracking_uri=client.tracking_uri)
    return next(kept.rglob("MLmodel")).parent
