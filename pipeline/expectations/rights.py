"""Expectations about rights (licence, author, landing page), of what was collected and of what was curated."""

from __future__ import annotations

import pandas as pd

from pipeline.core.licences import accepted
from pipeline.expectations.expectation import Expectation, in_set, matches

PUBLIC_DOMAIN = ("CC0-1.0", "PDM-1.0")  # nobody need be named
NOBODY = ("", "anonymous", "n/a", "none", "unknown", "unknown artist", "unknown author", "unknown photographer")
PAGELESS = ("folder", "synthetic")  # kinds of sources whose pictures come from no page
ADDRESS = r"^https?://\S+$"


def rights(licences: tuple[str, ...], prefix: str = "", page: str = "landing_page") -> tuple[Expectation, ...]:
    """Of the columns that `rights_of` makes; `licences` is the allow-list."""
    allowed = f"the licence is one of {', '.join(licences)}, or a port of one"
    named = "the author is known, or the picture is in the public domain"
    found = "a picture from the web comes with the page that says whose it is"
    return (
        in_set(f"{prefix}licence", "licence known and allowed", allowed, "licence", licences, "licence {!r}"),
        in_set(f"{prefix}author", "author named", named, "credited", [True], severity="warn"),
        matches(f"{prefix}{page}", "landing page known", found, "page", ADDRESS, "page {!r}", severity="warn"),
    )


def rights_of(table: pd.DataFrame, licences: tuple[str, ...]) -> pd.DataFrame:
    """Columns licence (as the allow-list spells it), credited (bool), page (missing where there can be none)."""
    licence = table["licence"].fillna("").str.strip()
    spelt = {name: _as_allowed(name, licences) for name in licence.unique()}
    pageless = table["source"].fillna("").str.split(":").str[0].isin(PAGELESS)
    return pd.DataFrame(
        {
            "licence": licence.map(spelt).astype("str"),
            "credited": (author_of(table) != "") | licence.isin(PUBLIC_DOMAIN),
            "page": table["page_url"].fillna("").mask(pageless),
        },
        index=table.index,
    )


def author_of(table: pd.DataFrame) -> pd.Series:
    """The author's name; empty for nobody, however a source writes that down."""
    author = table["author"].fillna("").str.strip()
    return author.mask(author.str.casefold().isin(NOBODY), "")


def _as_allowed(licence: str, licences: tuple[str, ...]) -> str:
    """The entry of the allow-list under which a licence falls (a ported one under its original), or itself."""
    return next((name for name in licences if accepted(licence, [name])), licence)
