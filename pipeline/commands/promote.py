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
from pipeline.io.tracking import mlflow_registry, mlflow_store, provenance
from pipeline.io.tracking.mlflow_registry import ModelVersion
from pipeline.registry import promotion


def promote(
    params: Params, paths: Paths, *, version: int | None = None, force: str | None = None, dry_run: bool = False
) -> Report:
    """Compare a version (the challenger, if none is named) with the champion and move the alias.

    Raises
    ------
    PaleoError
        When it does not beat the champion and no reason is given to promote it nevertheless.
    """
    client = mlflow_store.connect(paths.root)
    with mlflow_store.speaking_to(client.tracking_uri):
        known = mlflow_registry.versions(client, paths.species) if dry_run else promotion.settle(client, paths.species)
        chosen, champion = (
            _choose(known, paths.species, version),
            mlflow_registry.with_alias(known, mlflow_registry.CHAMPION),
        )
        if chosen == champion:
            return Report("promote", (f"{paths.species}: version {chosen.number} is the champion already",))
        verdict = promotion.judge(chosen, champion, params.register_.min_gain)
        report = _report(verdict, force, paths.species, champion)
        if not dry_run:
            promotion.promote(client, chosen, champion=champion, by=provenance.user(), at=_now(), report=report)
    was = f" instead of version {champion.number}" if champion else ""
    line = f"{paths.species}: version {chosen.number} is champion{was}; {report}"
    return Report("promote", (line, *(["dry run: promote did nothing"] if dry_run else [])))


def _choose(known: Sequence[ModelVersion], species: str, number: int | None) -> ModelVersion:
    if not known:
        raise InputError(f"{species} has no registered version; run `paleo run {species}` first")
    if number is None:
        return mlflow_registry.with_alias(known, mlflow_registry.CHALLENGER) or known[-1]
    for version in known:
        if version.number == number:
            return version
    raise InputError(f"{species} has no version {number}; there are {', '.join(str(v.number) for v in known)}")


def _report(verdict: promotion.Verdict, force: str | None, species: str, champion: ModelVersion | None) -> str:
    if force is not None and not force.strip():
        raise InputError("--force wants a reason, because it is kept with the version")
    if not verdict.beats and force is None:
        raise PaleoError(
            f"{species} stays with version {champion.number}: {verdict.sentence}; "
            "`--force REASON` promotes it nevertheless"
        )
    return verdict.sentence if force is None else f"forced: {force.strip()} ({verdict.sentence})"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
