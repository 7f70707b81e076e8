"""All curation checks, imported: every one is used, so whoever imports this module depends on each of them."""

from __future__ import annotations

from pipeline.core import registry
from pipeline.core.reason_codes import ReasonCode
from pipeline.curation import CHECKS
from pipeline.curation.check import Check


def all_checks() -> dict[str, Check]:
    """The checks of `CHECKS` by their names, in judging order."""
    return {name: registry.plugin(entry)() for name, entry in CHECKS.items()}


def reason_codes(checks: dict[str, Check]) -> tuple[ReasonCode, ...]:
    """The codes of these checks, in judging order."""
    return tuple(code for check in checks.values() for code in check.codes)
