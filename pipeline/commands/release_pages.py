"""The pages below `releases/`: `releases.json` keeps what is registered, the pages are made from it.

    releases/releases.json      the versions of each species, with ids and no addresses
    releases/index.html         the version of each species that serves
    releases/<species>.html     all versions of a species

Written when something is registered, and again when the servers have other addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.metric_spec import metric_spec
from pipeline.core.releases import ModelVersion
from pipeline.io import server_addresses
from pipeline.io.files import atomic_write
from pipeline.io.tracking import mlflow_registry, provenance
from pipeline.pages import releases as pages
from pipeline.pages.releases import RegisteredSpecies, RegisteredVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER, FILE = "releases", "releases.json"
OF_TAGS = ("prefect_flow_run_id", "prefect_flow_run_name", "git_commit", "dataset_tag", "dvc_md5", "n_pictures")


def add(root: Path, client: MlflowClient, species: str, name: str) -> None:
    """Write what the registry has of a species now, then all pages."""
    known = mlflow_registry.versions(client, species)
    versions = tuple(_registered(client, version) for version in reversed(known))
    stored = {**_stored(root), species: pages.as_json(RegisteredSpecies(species, name, versions))}
    atomic_write.write_json(root / FOLDER / FILE, {key: each for key, each in stored.items() if each["versions"]})
    write(root)


def write(root: Path) -> list[str]:
    """Write all pages with the present addresses of the servers; their names."""
    at, remote = server_addresses.read(root), provenance.web_address(root)

    def addresses(species: str, version: RegisteredVersion) -> Mapping[str, str]:
        return {
            "version": at.model_version(species, version.number),
            "training": at.training(version.experiment_id, version.run_id) if version.run_id else "",
            "flow_run": at.flow_run(version.prefect_flow_run_id),
            "commit": f"{remote}/commit/{version.git_commit}" if remote else "",
        }

    registered = [pages.from_json(each) for _, each in sorted(_stored(root).items())]
    written = pages.release_pages(registered, addresses) if registered else {}
    for file, text in written.items():
        atomic_write.write_text(root / FOLDER / file, text)
    return list(written)


def _stored(root: Path) -> dict[str, Any]:
    file = root / FOLDER / FILE
    return atomic_write.read_json(file) if file.is_file() else {}


def _registered(client: MlflowClient, version: ModelVersion) -> RegisteredVersion:
    tags = version.tags
    at = datetime.fromtimestamp(version.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return RegisteredVersion(
        version.number,
        version.aliases,
        at if version.created_ms else "",
        tags.get("step", ""),
        tags.get("lineage_id", ""),
        tags.get("method", ""),
        _score(tags),
        tags.get("gate_report", ""),
        tags.get("licences", ""),
        experiment_id=client.get_run(version.run_id).info.experiment_id if version.run_id else "",
        run_id=version.run_id,
        **{name: tags.get(name, "") for name in OF_TAGS},
    )


def _score(tags: Mapping[str, str]) -> str:
    """`species accuracy 31 % → 93 %`; empty where it was not measured."""
    primary = tags.get("primary", "")
    values = [tags.get(f"{which}.{primary}") for which in ("base", "metric")]
    if not primary or None in values:
        return ""
    spec = metric_spec(primary)
    return f"{spec.title} {' → '.join(spec.text(float(value)) for value in values if value is not None)}"
