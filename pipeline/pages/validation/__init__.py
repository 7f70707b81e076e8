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
ORDER = {"bad": 0, "warn": 1, "good": 2}
LAYERS = {"manifest": "What was collected", "curated": "What was curated"}


def validation_page(
    verdict: Mapping[str, Any],
    *,
    name: str,
    offences: Mapping[str, Sequence[Mapping[str, Any]]],
    licences: Mapping[str, int],
    moved: Sequence[Mapping[str, Any]],
    gallery: str = "",
) -> str:
    """One self-contained page.

    `offences` has {file_name, value, picture} per expectation, as many as are shown; `picture` is a data URI, empty
    where there is none, None where there can be none. `moved` has {quantity, before, now, index} against the version
    before. `gallery` is the address of the species' page there, which it links back to.
    """
    entries = [_entry(expectation, offences.get(expectation["name"], ())) for expectation in verdict["expectations"]]
    layers = [_layer(key, title, [e for e in entries if e["layer"] == key]) for key, title in LAYERS.items()]
    return render(
        "validation/validation.html",
        verdict=verdict,
        name=name,
        gallery=gallery,
        layers=layers,
        licences=licences,
        moved=moved,
        failed=[entry for layer in layers for entry in layer["failed"]],
    )


def _layer(key: str, title: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    failed = sorted((e for e in entries if not e["success"]), key=lambda e: ORDER[e["badge"]])
    return {"key": key, "title": title, "entries": entries, "failed": failed}


def _entry(expectation: Mapping[str, Any], offences: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    word, badge = STATES[expectation["success"], expectation["severity"]]
    hidden = expectation["n_offending"] - len(offences)
    return {**expectation, "word": word, "badge": badge, "offences": offences, "hidden": hidden}
