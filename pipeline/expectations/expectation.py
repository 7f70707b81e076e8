"""What an expectation is, and those about rights, which what was collected and what was curated share.

An expectation looks at one column of a table of facts and is written as Great Expectations serialises it: type and
arguments. A value that is missing in the column is not judged. How much an expectation matters, stop or warn, is said
in `validate.severity`. The suites themselves: `manifest_expectations.py`, `curated_expectations.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from pipeline.core.licences import accepted

PUBLIC_DOMAIN = ("CC0-1.0", "PDM-1.0")  # nobody need be named
NOBODY = ("", "anonymous", "n/a", "none", "unknown", "unknown artist", "unknown author", "unknown photographer")
PAGELESS = ("folder", "synthetic")  # kinds of sources whose pictures come from no page
ADDRESS = r"^https?://\S+$"


Severity = Literal["stop", "warn"]
WARNS = frozenset(
    {
        "manifest_author",
        "manifest_page",
        "manifest_count",
        "aspect",
        "author",
        "landing_page",
        "caption_length",
        "caption_vocabulary",
        "caption_name",
        "author_share",
        "class_margin",
        "drift",
    }
)


@dataclass(frozen=True)
class Expectation:
    """`title` names it, `need` is what must hold; `type` and `kwargs` are for Great Expectations.

    `shows` formats the value of an offender for people, or what was seen of the whole table; empty when the value says
    nothing more. `nothing` is said when there is nothing to judge.
    """

    name: str
    title: str
    need: str
    type: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    shows: str = ""
    nothing: str = "nothing to look at"


def in_set(name: str, title: str, need: str, column: str, values: list, shows: str = "") -> Expectation:
    limits = {"column": column, "value_set": values}
    return Expectation(name, title, need, "expect_column_values_to_be_in_set", limits, shows)


def unique(name: str, title: str, need: str, column: str) -> Expectation:
    return Expectation(name, title, need, "expect_column_values_to_be_unique", {"column": column})


def matches(name: str, title: str, need: str, column: str, regex: str, shows: str = "{!r}") -> Expectation:
    limits = {"column": column, "regex": regex}
    return Expectation(name, title, need, "expect_column_values_to_match_regex", limits, shows)


def matches_not(name: str, title: str, need: str, column: str, regex: str, shows: str = "{!r}") -> Expectation:
    limits = {"column": column, "regex": regex}
    return Expectation(name, title, need, "expect_column_values_to_not_match_regex", limits, shows)


def at_least(name: str, title: str, need: str, column: str, least: float, shows: str = "") -> Expectation:
    limits = {"column": column, "min_value": least}
    return Expectation(name, title, need, "expect_column_values_to_be_between", limits, shows)


def at_most(name: str, title: str, need: str, column: str, most: float, shows: str = "") -> Expectation:
    limits = {"column": column, "max_value": most}
    return Expectation(name, title, need, "expect_column_values_to_be_between", limits, shows)


def rights(policy: tuple[str, ...], prefix: str = "", page: str = "landing_page") -> tuple[Expectation, ...]:
    """Of the columns that `rights_of` makes."""
    allowed = f"the licence is one of {', '.join(policy)}, or a port of one"
    named = "the author is known, or the picture is in the public domain"
    found = "a picture from the web comes with the page that says whose it is"
    return (
        in_set(f"{prefix}licence", "licence known and allowed", allowed, "licence", list(policy), "licence {!r}"),
        in_set(f"{prefix}author", "author named", named, "credited", [True]),
        matches(f"{prefix}{page}", "landing page known", found, "page", ADDRESS, "page {!r}"),
    )


def rights_of(table: pd.DataFrame, policy: tuple[str, ...]) -> pd.DataFrame:
    """Columns licence (as the allow-list spells it), credited (bool), page (missing where there can be none)."""
    licence = table["licence"].fillna("").str.strip()
    spelt = {name: _as_allowed(name, policy) for name in licence.unique()}
    webless = table["source"].fillna("").str.split(":").str[0].isin(PAGELESS)
    return pd.DataFrame(
        {
            "licence": licence.map(spelt).astype("str"),
            "credited": (author_of(table) != "") | licence.isin(PUBLIC_DOMAIN),
            "page": table["page_url"].fillna("").mask(webless),
        },
        index=table.index,
    )


def author_of(table: pd.DataFrame) -> pd.Series:
    """The author's name; empty for nobody, however a source writes that down."""
    author = table["author"].fillna("").str.strip()
    return author.mask(author.str.casefold().isin(NOBODY), "")


def any_word(words: tuple[str, ...]) -> str:
    """A pattern that finds one of the words, or its plural, as a whole word in any case; nothing without words."""
    forms = "|".join(
        rf"{re.escape(word[:-1])}(?:y|ies)" if re.search("[^aeiou]y$", word) else rf"{re.escape(word)}(?:s|es)?"
        for word in words
    )
    return rf"(?i)\b(?:{forms})\b" if words else r"(?!)"


def _as_allowed(licence: str, policy: tuple[str, ...]) -> str:
    """The entry of the allow-list under which a licence falls (a ported one under its original), or itself."""
    return next((name for name in policy if accepted(licence, [name])), licence)
