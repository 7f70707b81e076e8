"""`paleo register`: put the chosen checkpoint of each species into the registry, once per lineage.

Reads the cards and tables that the stages have left; writes to MLflow, and `.work/release/<species>.json` for the
table at the end of `paleo run`. It can be repeated at any time: what is there stays, what a crash left is finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Report
from pipeline.io.files import atomic_write
from pipeline.io.tracking import mlflow_registry, mlflow_store, provenance
from pipeline.io.tracking.mlflow_registry import ModelVersion
from pipeline.registry import promotion
from pipeline.registry.release import ReleaseCandidate, find, release

if TYPE_CHECKING:
    from mlflow import MlflowClient


def register(params: Params, species: Sequence[Paths], dry_run: bool = False) -> Report:
    """Register every species that is not registered yet, and let the better one be champion.

    Raises
    ------
    InputError
        When a species is not evaluated as it is now; before anything is registered.
    ServiceError
        When the registry does not answer; what was registered stays, and repeating does the rest.
    """
    found = [find(paths) for paths in species]
    if dry_run:
        lines = [f"{f.paths.species}: step {f.step} of {f.card['lineage_id']}, {f.gain}" for f in found]
        return Report("register", (*lines, "dry run: register did nothing"))
    client = mlflow_store.connect(species[0].root)
    return Report("register", tuple(_register(client, params, each) for each in found))


def _register(client: MlflowClient, params: Params, finding: ReleaseCandidate) -> str:
    """One species; the line that is printed."""
    species = finding.paths.species
    with mlflow_store.speaking_to(client.tracking_uri):
        known = promotion.settle(client, species)
    new = mlflow_registry.same(known, finding.identity) is None
    if new:
        mlflow_registry.add(client, finding.paths.root, release(params, finding))
    with mlflow_store.speaking_to(client.tracking_uri):
        version, verdict = _name(client, params, finding)
    _note(finding, version)
    if not new:
        return f"{species}: already registered as {version}"
    return f"{species}: {version}, step {finding.step}, {finding.gain}{verdict}"


def _name(client: MlflowClient, params: Params, finding: ReleaseCandidate) -> tuple[ModelVersion, str]:
    """Give the newest version its alias, and this one the champion's if it is the better one."""
    known = promotion.challenge(client, mlflow_registry.versions(client, finding.paths.species))
    version, champion = (
        mlflow_registry.same(known, finding.identity),
        mlflow_registry.with_alias(known, mlflow_registry.CHAMPION),
    )
    if "gate_report" in version.tags:  # was compared when it was registered
        return version, ""
    verdict = promotion.judge(version, champion, params.register_.min_gain)
    if verdict.beats:
        promotion.promote(client, version, champion=champion, by=provenance.user(), at=_now(), report=verdict.sentence)
    else:
        client.set_model_version_tag(version.species, str(version.number), "gate_report", verdict.sentence)
    named = mlflow_registry.same(mlflow_registry.versions(client, version.species), finding.identity)
    return named, "" if verdict.beats else f"; not champion: {verdict.sentence}"


def _note(finding: ReleaseCandidate, version: ModelVersion) -> None:
    """For the table at the end of `paleo run`."""
    noted = {
        "species": version.species,
        "name": version.species,
        "version": version.number,
        "alias": version.alias,
        "aliases": version.aliases,
        **finding.identity,
        "step": finding.step,
    }
    atomic_write.write_json(finding.paths.work / "release" / f"{version.species}.json", noted)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
