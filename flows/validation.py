"""The verdict of a validation as an artifact of the run: a table, and where its page is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact

from flows import prefect_server
from pipeline.core import stored_json

KIND = "validate"  # the stage that writes verdicts

VERDICT_KEYS = {
    "success": bool,
    "n_train": int,
    "n_holdout": int,
    "warned": list,
    "stopped": list,
    "expectations": list,
}
MAX_OFFENDERS = 3  # that are named for each expectation
_MARKS = re.compile(r"[\\`*_{}\[\]<>|#!&~]")  # titles and names come from the web
_STATES = {(True, "stop"): "holds", (True, "warn"): "holds", (False, "warn"): "**warns**", (False, "stop"): "**stops**"}


def publish(species: str, since: float) -> None:
    """Publish the verdict, if the stage wrote one after `since` (seconds since the epoch)."""
    folder = Path("reports/validation") / species
    verdict = folder / "verdict.json"
    if not verdict.is_file() or verdict.stat().st_mtime < since:
        return
    create_markdown_artifact(
        markdown(stored_json.read(verdict, VERDICT_KEYS), folder / "index.html"),
        key=f"validation-{species.replace('_', '-')}",
        description=f"Is the data set of {species} fit to train on?",
    )


def markdown(verdict: dict[str, Any], page: Path) -> str:
    """The verdict in a sentence, the places of its page, and a row per expectation, the failed ones first."""
    entries = sorted(verdict["expectations"], key=lambda e: (e["success"], e["severity"] != "stop"))
    rows = [" | ".join(_cells(entry)) for entry in entries]
    table = ["state | of | expectation | observed", "--- | --- | --- | ---", *rows]
    pictures = f"{verdict['n_train']} training and {verdict['n_holdout']} held-out pictures"
    return "\n".join(
        [f"{_summary(verdict)} {pictures}.", "", f"With the pictures: {_places(verdict, page)}", "", *table]
    )


def _summary(verdict: dict[str, Any]) -> str:
    warned = f", with {len(verdict['warned'])} of its expectations warning" if verdict["warned"] else ""
    if verdict["success"]:
        return f"**Accepted**{warned}:"
    return f"**Refused** by {len(verdict['stopped'])} of {len(verdict['expectations'])} expectations{warned}:"


def _places(verdict: dict[str, Any], page: Path) -> str:
    """Links to the page, and to the one in the gallery, which shows what was accepted last; `paleo up` serves both."""
    gallery = prefect_server.ui_addresses().gallery
    return f"[{page}]({gallery}/{page.as_posix()}), [in the gallery]({gallery}/{verdict['species']}/validation.html)"


def _cells(entry: dict[str, Any]) -> tuple[str, ...]:
    names = ", ".join(entry["offending"][:MAX_OFFENDERS])
    more = " …" if len(entry["offending"]) > MAX_OFFENDERS else ""
    observed = f"{entry['observed']}: {names}{more}" if names else entry["observed"]
    return _STATES[entry["success"], entry["severity"]], entry["layer"], _plain(entry["title"]), _plain(observed)


def _plain(text: str) -> str:
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", " ".join(text.split()))
