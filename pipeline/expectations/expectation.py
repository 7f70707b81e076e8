"""What an expectation is, and how the common kinds of them are written.

An expectation reads one column of a table of facts and is written as Great Expectations serialises it: type and
arguments. A value that is missing in the column is not judged. Its severity is what happens when it fails: `stop` (the
stage fails and nothing is trained) or `warn`; `validate.severity` in params.yaml overrides it by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["stop", "warn"]


@dataclass(frozen=True)
class Expectation:
    """`title` names it, `need` is what must hold; `type` and `kwargs` are for Great Expectations.

    `value_format` shows the value of an offender, or what was observed of the whole table; empty when the value adds
    nothing. `when_empty` is shown when there is nothing to judge.
    """

    name: str
    title: str
    need: str
    type: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    value_format: str = ""
    severity: Severity = "stop"
    when_empty: str = "nothing to look at"


def in_set(
    name: str,
    title: str,
    need: str,
    column: str,
    values: Sequence[Any],
    value_format: str = "",
    severity: Severity = "stop",
) -> Expectation:
    """Every value is one of these."""
    limits = {"column": column, "value_set": list(values)}
    return Expectation(name, title, need, "expect_column_values_to_be_in_set", limits, value_format, severity)


def unique(name: str, title: str, need: str, column: str) -> Expectation:
    """No value occurs twice."""
    return Expectation(name, title, need, "expect_column_values_to_be_unique", {"column": column})


def matches(
    name: str, title: str, need: str, column: str, regex: str, value_format: str = "{!r}", severity: Severity = "stop"
) -> Expectation:
    """The regular expression is found in every value."""
    limits = {"column": column, "regex": regex}
    return Expectation(name, title, need, "expect_column_values_to_match_regex", limits, value_format, severity)


def matches_not(
    name: str, title: str, need: str, column: str, regex: str, value_format: str = "{!r}", severity: Severity = "stop"
) -> Expectation:
    """The regular expression is found in no value."""
    limits = {"column": column, "regex": regex}
    return Expectation(name, title, need, "expect_column_values_to_not_match_regex", limits, value_format, severity)


def at_least(
    name: str, title: str, need: str, column: str, least: float, value_format: str = "", severity: Severity = "stop"
) -> Expectation:
    """No value is below `least`."""
    limits = {"column": column, "min_value": least}
    return Expectation(name, title, need, "expect_column_values_to_be_between", limits, value_format, severity)


def at_most(
    name: str, title: str, need: str, column: str, most: float, value_format: str = "", severity: Severity = "stop"
) -> Expectation:
    """No value is above `most`."""
    limits = {"column": column, "max_value": most}
    return Expectation(name, title, need, "expect_column_values_to_be_between", limits, value_format, severity)


def any_word(words: Sequence[str]) -> str:
    """A pattern that finds one of the words, or its plural, as a whole word in any case; nothing without words."""
    forms = "|".join(
        rf"{re.escape(word[:-1])}(?:y|ies)" if re.search("[^aeiou]y$", word) else rf"{re.escape(word)}(?:s|es)?"
        for word in words
    )
    return rf"(?i)\b(?:{forms})\b" if words else r"(?!)"
