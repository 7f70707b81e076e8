"""`paleo versions`: the registered versions of each species, which of them is the champion, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from pipeline.commands.listings import Listing, table_lines
from pipeline.core import registry
from pipeline.core.errors import InputError
from pipeline.core.metric_spec import metric_spec
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.releases import ModelVersion
from pipeline.io.tracking import mlflow_registry, mlflow_store

COLUMNS = ("version", "alias", "step", "gain", "pictures", "lineage", "gate")


def versions(params: Params, paths: Paths, species: Sequence[str] = ()) -> Listing:
    """Every registered version, oldest first; `species` may name one that params.yaml has no longer.

    Raises
    ------
    InputError
        When a name is neither in params.yaml nor in the registry.
    ServiceError
        When the registry does not answer.
    """
    client = mlflow_store.connect(paths.root)
    with mlflow_store.mlflow_errors(client.tracking_uri):
        found = {key: mlflow_registry.versions(client, key) for key in dict.fromkeys(species or params.species)}
    for key, known in found.items():
        if not known and key not in params.species:
            raise InputError(f"no species {key!r} in params.yaml or the registry; {registry.hint(key, params.species)}")
    rows = [_row(version) for known in found.values() for version in known]
    without = [key for key, known in found.items() if not known]
    missing = (f"{key}: no registered version; `paleo run {key}` makes one" for key in without)
    return Listing("versions", (*(_table(rows) if rows else ()), *missing), data=rows)


def _table(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    table = Table(box=None, pad_edge=False)
    for name in ("species", *COLUMNS):
        table.add_column(name, no_wrap=name != "gate")
    for row in rows:
        table.add_row(row["species"], *(str(row[column]) for column in COLUMNS))
    return table_lines(table)


def _row(version: ModelVersion) -> dict[str, Any]:
    tags = version.tags
    return {
        "species": version.species,
        "version": version.number,
        "alias": version.alias,
        "step": int(tags["step"]),
        "gain": _gain(tags),
        "pictures": int(tags.get("n_pictures", 0)),
        "lineage": tags["lineage_id"],
        "gate": tags.get("gate_report", ""),
        "metrics": {name: value for name, value in tags.items() if name.startswith(("metric.", "base."))},
        "source": version.source,
    }


def _gain(tags: Mapping[str, str]) -> str:
    """`25% -> 100%` of the primary metric; "" where that was not measured."""
    name = tags.get("primary", "")
    if f"base.{name}" not in tags or f"metric.{name}" not in tags:
        return ""
    metric = metric_spec(name)
    return " → ".join(metric.text(float(tags[f"{which}.{name}"])) for which in ("base", "metric"))
