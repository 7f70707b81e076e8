"""Run the checks and sum up: one verdict per picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core.records import Rejection
from pipeline.curation.looks import Findings, Look, Task

KEPT = "kept"


@dataclass(frozen=True)
class Verdict:
    """`rejection` is None for a kept picture; `notes` are further columns of its row."""

    rejection: Rejection | None
    sentence: str
    score: float | None
    notes: Mapping[str, Any]

    @property
    def code(self) -> str:
        return self.rejection.code if self.rejection else KEPT


def judge(looks: Sequence[Look], checks: Mapping[str, Callable[..., Findings]], task: Task) -> dict[str, Verdict]:
    """By sha256: each check sees only what the earlier ones left alive."""
    alive, dropped = {look.sha256 for look in looks}, {}
    notes: dict[str, dict[str, Any]] = {look.sha256: {} for look in looks}
    praise: dict[str, list[str]] = {look.sha256: [] for look in looks}
    for check in checks.values():
        findings = check(looks, frozenset(alive), task)
        dropped |= findings.drops
        alive -= findings.drops.keys()
        for sha256, columns in findings.notes.items():
            notes[sha256] |= columns
        for sha256, sentence in findings.praise.items():
            praise[sha256].append(sentence)
    return {sha: _verdict(dropped.get(sha), notes[sha], praise[sha]) for sha in notes}


def undecoded(rejection: Rejection) -> Verdict:
    return _verdict(rejection, {}, [])


def _verdict(rejection: Rejection | None, notes: dict[str, Any], praise: list[str]) -> Verdict:
    if rejection:
        return Verdict(rejection, rejection.sentence, rejection.score, notes)
    return Verdict(None, " ".join(praise) or "No check found anything against it.", notes.get("clip_margin"), notes)
