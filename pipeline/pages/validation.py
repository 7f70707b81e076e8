"""The page of a validation: each expectation with its state, and the pictures that offend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.pages import render

STATES = {  # (success, severity) -> word, badge
    (True, "stop"): ("holds", "good"),
    (True, "warn"): ("holds", "good"),
    (False, "warn"): ("warns", "warn"),
    (False, "stop"): ("stops", "bad"),
}


def validation_page(
    verdict: Mapping[str, Any],
    *,
    name: str,
    offences: Mapping[str, Sequence[Mapping[str, str]]],
    licences: Mapping[str, int],
) -> str:
    """One self-contained page; `offences` has {file_name, value, picture} per expectation, as many as are shown."""
    entries = [_entry(expectation, offences.get(expectation["name"], ())) for expectation in verdict["expectations"]]
    order = {"bad": 0, "warn": 1, "good": 2}
    return render(
        "validation.html",
        verdict=verdict,
        name=name,
        failed=sorted((e for e in entries if not e["success"]), key=lambda e: order[e["badge"]]),
        entries=entries,
        licences=licences,
    )


def _entry(expectation: Mapping[str, Any], offences: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    word, badge = STATES[expectation["success"], expectation["severity"]]
    hidden = len(expectation["offending"]) - len(offences)
    return {**expectation, "word": word, "badge": badge, "offences": offences, "hidden": hidden}
