"""Registered model versions, and the table of results at the end of a run."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import urllib.parse
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from ruamel.yaml import YAML

from flows import prefect_server, processes, project, server_requests
from flows.reproduce import Outcome, run_id
from flows.stage_logs import StageLog
from pipeline.core import stored_json, strict_json
from pipeline.core.errors import InputError

METRICS_KEYS: stored_json.Keys = {"chosen_step": int, "base": dict, "chosen": dict}
LOCK = Path("dvc.lock")
STORE = Path("mlflow.db")
VERSION_STAGES = ("train", "evaluate")  # whose results a model version consists of


@dataclass(frozen=True)
class Row:
    """One line of the table at the end of a run; None where there is no result yet.

    `earlier`: the result is that of an earlier run, since this one did not come to it.
    """

    species: str
    step: int | None
    before: float | None
    after: float | None
    version: str
    seconds: float
    earlier: bool = False


def release(species: list[str], outcomes: list[Outcome], logs: Path) -> str:
    """Register what has been evaluated; returns a sentence if that failed."""
    succeeded = {outcome.stage.name for outcome in outcomes if outcome.ending in ("ran", "cached")}
    ready = [key for key in species if f"evaluate@{key}" in succeeded]
    if not ready:
        return ""
    state = register(ready, logs, return_state=True)
    return "" if state.is_completed() else state.message or str(state.name)


@task(name="register", cache_policy=NO_CACHE, persist_result=False)
def register(species: list[str], logs: Path) -> State[None]:
    """`paleo register` for all species at once, because it starts slowly; it makes no version twice."""
    digests = {key: digest(key) for key in species}
    if all(is_released(key, digests[key]) for key in species):
        return Completed(name="Cached", message="every version is registered")
    log = StageLog(logs / "register.log", get_run_logger().info)
    command = [sys.executable, "-m", "pipeline", "register", *species]
    with processes.started(command, project.environment(**run_id())) as child:
        for _line in log.follow(child.stdout):
            pass
    if processes.stopping():
        return Cancelled(message="register was stopped; it can be repeated")
    if child.returncode:
        return Failed(message=_failure(log))
    for key in species:
        _stamp(key).write_text(digests[key], encoding="utf-8")
    return Completed(message=f"registered {', '.join(species)}")


def _failure(log: StageLog) -> str:
    own = [line for line in log.tail if line.startswith("paleo register: ")]
    return "register failed: " + (own[-1].removeprefix("paleo register: ") if own else "\n  ".join(log.tail))


def digest(species: str) -> str:
    """sha256 of what a version is made from, as dvc.lock has it, the rule for the champion, and where links lead."""
    lock = YAML(typ="safe").load(LOCK.read_text(encoding="utf-8")) if LOCK.is_file() else {}
    entries = [((lock or {}).get("stages") or {}).get(f"{kind}@{species}") for kind in VERSION_STAGES]
    links = asdict(prefect_server.ui_addresses())
    text = json.dumps([entries, project.params().get("register"), links], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _stamp(species: str) -> Path:
    return project.WORK / "release" / f"{species}.stamp"


def record(species: str) -> dict[str, Any]:
    """What `paleo register` recorded: version, alias, lineage_id; empty when it never ran."""
    try:
        found = strict_json.parse((project.WORK / "release" / f"{species}.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_released(species: str, now: str) -> bool:
    """Was exactly this registered, and does the store still have it?"""
    registered = record(species)
    stamp = _stamp(species)
    if not registered or not stamp.is_file() or stamp.read_text(encoding="utf-8") != now:
        return False
    return _store_has(str(registered.get("name", species)), str(registered.get("version", "")))


def _store_has(name: str, version: str) -> bool:
    """Query the store itself, without MLflow's slow client; False for other kinds of stores, so register again."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith(("http://", "https://")):
        return _server_has(uri, name, version)
    if uri and uri != f"sqlite:///{STORE.absolute()}":
        return False
    return STORE.is_file() and not _was_moved() and _database_has(name, version)


def _was_moved() -> bool:
    """Whether the store points to artifacts of the folder that this project was moved from; registering mends that."""
    home = f"{Path('mlartifacts').resolve()}/"
    query = "SELECT storage_location FROM model_versions WHERE storage_location LIKE '%/mlartifacts/%'"
    try:
        with closing(sqlite3.connect(f"file:{STORE}?mode=ro", uri=True, timeout=5)) as database:
            locations = [row[0] for row in database.execute(query)]
    except sqlite3.Error:
        return False
    return any(not location.startswith(home) for location in locations)


def _server_has(uri: str, name: str, version: str) -> bool:
    query = urllib.parse.urlencode({"name": name, "version": version})
    path = f"/api/2.0/mlflow/model-versions/get?{query}"
    return server_requests.mlflow_status(uri, path, seconds=5) == 200


def _database_has(name: str, version: str) -> bool:
    query = "SELECT current_stage FROM model_versions WHERE name = ? AND version = ?"
    try:
        with closing(sqlite3.connect(f"file:{STORE}?mode=ro", uri=True, timeout=5)) as database:
            found = database.execute(query, (name, version)).fetchone()
    except sqlite3.Error:
        return False
    return found is not None and found[0] != "Deleted_Internal"


def rows(species: list[str], outcomes: list[Outcome]) -> list[Row]:
    """The table at the end, from the files that the stages wrote."""
    seconds = {key: sum(o.seconds for o in outcomes if o.stage.species == key) for key in species}
    unfinished = {o.stage.species for o in outcomes if o.ending not in ("ran", "cached")}
    return [_row(key, seconds[key], earlier=key in unfinished) for key in species]


def _row(species: str, seconds: float, *, earlier: bool) -> Row:
    try:
        metrics = stored_json.read(Path(f"reports/evaluation/{species}/metrics.json"), METRICS_KEYS)
    except InputError:  # there is no result yet, or none that can be read
        metrics = {"base": {}, "chosen": {}}
    registered = record(species)
    alias = f" ({registered['alias']})" if registered.get("alias") else ""
    return Row(
        species=species,
        step=metrics.get("chosen_step"),
        before=metrics["base"].get("species_accuracy"),
        after=metrics["chosen"].get("species_accuracy"),
        version=f"v{registered['version']}{alias}" if registered.get("version") else "",
        seconds=seconds,
        earlier=earlier and bool(metrics),
    )


HEADINGS = ("species", "chosen step", "species accuracy", "model version", "seconds")


def cells(row: Row) -> tuple[str, ...]:
    """A row as text, for the terminal and the artifact."""
    shown = [f"{value:.0%}" if value is not None else "–" for value in (row.before, row.after)]
    step = "–" if row.step is None else str(row.step)
    step += " (earlier run)" if row.earlier else ""
    return row.species, step, f"{shown[0]} → {shown[1]}", row.version or "–", f"{row.seconds:.0f}"


LINKS = {  # of `paleo register`'s record -> the text of the link
    "gallery": "gallery",
    "version": "version in MLflow",
    "training": "training in MLflow",
}


def publish(results: list[Row], outcomes: list[Outcome]) -> None:
    """The table as an artifact of the flow run, with what happened to each stage, and links to what came out."""
    table = [" | ".join([*HEADINGS, "see"]), " | ".join("---" for _ in (*HEADINGS, "see"))]
    for row in results:
        links = links_of(row.species)
        table.append(" | ".join([*cells(row), ", ".join(f"[{LINKS[name]}]({at})" for name, at in links.items())]))
        _publish_links(row.species, links)
    stages = ["stage | ending | seconds | why", "--- | --- | --- | ---"]
    for outcome in outcomes:
        why = " ".join(outcome.message.split())
        stages.append(f"{outcome.stage.name} | {outcome.ending} | {outcome.seconds:.1f} | {why[:200]}")
    create_markdown_artifact("\n".join([*table, "", *stages]), key="results", description="What this run brought")


def links_of(species: str) -> dict[str, str]:
    """Addresses over http of what is registered of a species, by the keys of LINKS."""
    links = record(species).get("links")
    return {name: links[name] for name in LINKS if links.get(name)} if isinstance(links, dict) else {}


def _publish_links(species: str, links: dict[str, str]) -> None:
    """A link artifact for each: Prefect lists them by their keys, every one with its history."""
    for name, address in links.items():
        key = f"{name}-{species.replace('_', '-')}"
        create_link_artifact(address, LINKS[name], key=key, description=f"{LINKS[name]} of {species}")
