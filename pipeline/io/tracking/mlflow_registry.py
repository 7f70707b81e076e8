"""The MLflow registry: the versions of a species and their aliases, and moving `champion` as a small transaction.

MLflow's aliases have no history. So a promotion first writes who, when, from what and why on the version, then one line
on the registered model (its history), then moves the alias, and last marks itself as done: after a crash the former
champion still serves, and the next `paleo register` or `paleo promote` finishes what was begun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.core.releases import CHALLENGER, CHAMPION, ModelVersion, with_alias
from pipeline.io.tracking import mlflow_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

STARTED, DONE, OVERTAKEN = "started", "done", "overtaken"  # values of the tag `promotion`
MAX_TAG = 5000  # MLflow's limit


def versions(client: MlflowClient, species: str) -> list[ModelVersion]:
    """All versions of a species, oldest first."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(species).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return []
    names: dict[int, list[str]] = {}
    for alias, number in sorted(aliases.items()):
        names.setdefault(int(number), []).append(alias)
    found = {int(each.version): each for each in client.search_model_versions(f"name = '{species}'", max_results=1000)}
    return [
        ModelVersion(
            species,
            number,
            mlflow_tags.flat(each.tags),
            each.source or "",
            tuple(names.get(number, ())),
            each.run_id or "",
            int(each.creation_timestamp or 0),
        )
        for number, each in sorted(found.items())
    ]


def promote(
    client: MlflowClient, version: ModelVersion, *, champion: ModelVersion | None, by: str, at: str, report: str
) -> None:
    """Make a version the champion and keep who, when, from what and why."""
    former = str(champion.number) if champion else ""
    record = {"promoted_by": by, "promoted_at": at, "promoted_from": former, "gate_report": report}
    _set_promotion(client, version, {**record, "promotion": STARTED})
    line = f"version {version.number} instead of {former or 'none'}, by {by}: {report}"
    client.set_registered_model_tag(version.species, f"promotion.{at}", line[:MAX_TAG])
    _move_alias(client, version, record)


def refuse(client: MlflowClient, version: ModelVersion, report: str) -> None:
    """Keep why a version is not the champion."""
    _set_promotion(client, version, {"gate_report": report})


def finish_promotion(client: MlflowClient, species: str) -> list[ModelVersion]:
    """Finish a promotion that a crash has interrupted; returns the versions as they are then."""
    known = versions(client, species)
    begun = [version for version in known if version.tags.get("promotion") == STARTED]
    present = with_alias(known, CHAMPION)
    for version in begun:
        if version.tags["promoted_from"] == (str(present.number) if present else "") or version == present:
            _move_alias(client, version, _record(version))
        else:
            _set_promotion(client, version, {**_record(version), "promotion": OVERTAKEN})
    return versions(client, species) if begun else known


def set_challenger(client: MlflowClient, known: Sequence[ModelVersion]) -> Sequence[ModelVersion]:
    """Let `challenger` name the newest of the versions; returns them as they are then."""
    newest = known[-1]
    if CHALLENGER in newest.aliases:
        return known
    client.set_registered_model_alias(newest.species, CHALLENGER, str(newest.number))
    return versions(client, newest.species)


def _move_alias(client: MlflowClient, version: ModelVersion, record: Mapping[str, str]) -> None:
    client.set_registered_model_alias(version.species, CHAMPION, str(version.number))
    _set_promotion(client, version, {**record, "promotion": DONE})


def _record(version: ModelVersion) -> dict[str, str]:
    """Who, when, from what and why, as the version has it."""
    return {key: value for key, value in version.tags.items() if key.startswith("promoted_") or key == "gate_report"}


def _set_promotion(client: MlflowClient, version: ModelVersion, values: Mapping[str, str]) -> None:
    for key, value in mlflow_tags.grouped(values).items():
        client.set_model_version_tag(version.species, str(version.number), key, value)
