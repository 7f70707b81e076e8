"""Severities: the defaults of expectations, overridden by `validate.severity` in params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pipeline.core import registry
from pipeline.core.errors import ParamsError
from pipeline.expectations import EXPECTATIONS
from pipeline.expectations.expectation import Expectation, Severity
from pipeline.expectations.suite import Limits


def with_severity(limits: Limits, overrides: Mapping[str, Severity]) -> dict[str, tuple[Expectation, ...]]:
    """The expectations of each suite by its name, each with its severity.

    Raises
    ------
    ParamsError
        When `overrides` names no expectation; the nearest one is in the message.
    """
    expectations = {name: suite.expectations(limits) for name, suite in EXPECTATIONS.items()}
    known = [one.name for of in expectations.values() for one in of]
    if unknown := next((name for name in overrides if name not in known), None):
        raise ParamsError(
            f"validate.severity names {unknown!r}, which is no expectation; {registry.hint(unknown, known)}"
        )
    return {
        name: tuple(replace(one, severity=overrides.get(one.name, one.severity)) for one in of)
        for name, of in expectations.items()
    }
