"""`paleo promote`: make a registered version the champion, if it beats the present one or for a reason that is kept.

Rolling back is the same with an older version: `paleo promote SPECIES --version 2 --force "version 3 draws two heads"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.core.errors import InputError, PaleoError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Report
from pipeline.core.releases import CHALLENGER, CHAMPION, ModelVersion, with_alias, with_number
from pipeline.io.tracking import mlflow_registry, mlflow_store, provenance
from pipeline.registry import promotion_gate


def promote(
    params: Params, paths: Paths, *, version: int | None = None, force: str | None = None, dry_run: bool = False
) -> Report:
    """Compare a version (the challenger, if none is named) with the champion and move the alias.

    Raises
    ------
    InputError
        When there is no such version, or `force` has no reason in it.
    PaleoError
        When it does not beat the champion and no reason is given to promote it nevertheless.
    ServiceError
        When the registry does not answer.
    """
    client, species = mlflow_store.connect(paths.root), paths.species
    with mlflow_store.mlflow_errors(client.tracking_uri):
        known = (mlflow_registry.versions if dry_run else mlflow_registry.finish_promotion)(client, species)
        chosen, champion = _chosen(known, species, version), with_alias(known, CHAMPION)
        if chosen == champion:
            return Report("promote", (f"{species}: version {chosen.number} is the champion already",))
        verdict = promotion_gate.compare(chosen, champion, params.register_)
        report = _gate_report(verdict, force, species, champion)
        if not dry_run:
            by, at = provenance.user(), _now()
            mlflow_registry.promote(client, chosen, champion=champion, by=by, at=at, report=report)
    was = f" instead of version {champion.number}" if champion else ""
    line = f"{species}: version {chosen.number} is champion{was}; {report}"
    return Report("promote", (line, *(["dry run: promote did nothing"] if dry_run else [])))


def _chosen(known: Sequence[ModelVersion], species: str, number: int | None) -> ModelVersion:
    """The version of this number; without one the challenger, else the newest."""
    if number is None and known:
        return with_alias(known, CHALLENGER) or known[-1]
    return with_number(known, species, number or 0)


def _gate_report(
    verdict: promotion_gate.Verdict, force: str | None, species: str, champion: ModelVersion | None
) -> str:
    """The sentence that is kept with the version; PaleoError when it stays as it is."""
    if force is not None and not force.strip():
        raise InputError("--force needs a reason, because it is kept with the version")
    if force is not None:
        return f"forced: {force.strip()} ({verdict.sentence})"
    if not verdict.beats:
        present = f"version {champion.number}" if champion else "no champion"
        raise PaleoError(
            f"{species} stays with {present}: {verdict.sentence}; `--force REASON` promotes it nevertheless"
        )
    return verdict.sentence


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
