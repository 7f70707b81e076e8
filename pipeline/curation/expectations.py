"""What a curated data set must be before anything is trained on it, as plain data.

An expectation looks at one column of the fact table (one row per picture, see `facts`) and is written as Great
Expectations serialises it: type and arguments. How much it matters, stop or warn, is said in `validate.severity`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline.core.params import Params

PUBLIC_DOMAIN = ("CC0-1.0", "PDM-1.0")  # nobody need be named
SPLITS = ("train", "holdout")
NEEDED = ("file_name", "split", "licence", "author", "caption", "sha256", "pixel_sha256", "group", "clip_margin")


@dataclass(frozen=True)
class Expectation:
    """`title` names it, `need` is what must hold; `type` and `kwargs` are for Great Expectations.

    `shows` formats the value of an offending picture for the page; empty when the value says nothing more.
    """

    name: str
    title: str
    need: str
    type: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    shows: str = ""


def expectations(params: Params, name: str) -> tuple[Expectation, ...]:
    """The suite for a species called `name`, in the order of the page."""
    validate = params.validate_
    return (
        *_pictures(params.curate.min_side_px),
        *_rights(params.collect.licences),
        *_captions(validate.caption_max_words, name),
        _count("train_count", "enough training pictures", "train", validate.min_train),
        _count("holdout_count", "enough held-out pictures", "holdout", validate.min_holdout),
        *_fairness(validate.min_class_margin),
    )


def facts(table: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """The fact table: what the data set says about each picture, and what its file really is.

    `measured` has one row per row of `table`: problem (empty when the file opens), width_px, height_px, mode, pixels
    (sha256 of what is shown). What cannot be known of an unreadable file is missing there, and fails only `decodable`.
    """
    text = table[["file_name", "split", "licence", "author", "caption"]].fillna("")
    measured = measured.set_index(table.index)
    return text.assign(
        problem=measured["problem"],
        pixels=measured["pixels"],
        side_px=measured[["width_px", "height_px"]].astype(float).min(axis=1),
        mode=measured["mode"],
        credited=(text["author"].str.strip() != "") | text["licence"].isin(PUBLIC_DOMAIN),
        caption_characters=text["caption"].str.strip().str.len(),
        caption_words=text["caption"].str.split().str.len(),
        splits=_splits(table.assign(shown=measured["pixels"])),
        clip_margin=table["clip_margin"].astype(float),
    )


def _splits(table: pd.DataFrame) -> pd.Series:
    """In how many splits each picture is, by its bytes, its pixels and its group of near duplicates: 1, or a leak."""
    seen = [_splits_by(table, column) for column in ("sha256", "pixel_sha256", "shown", "group")]
    return pd.concat(seen, axis=1).max(axis=1).astype(int)


def _splits_by(table: pd.DataFrame, column: str) -> pd.Series:
    key = table[column].fillna("").astype(str)
    return table["split"].groupby(key.where(key != "", table["file_name"])).transform("nunique")


def _pictures(min_side_px: int) -> tuple[Expectation, ...]:
    return (
        _in_set("decodable", "readable", "every picture is there and can be opened", "problem", [""], shows="{}"),
        Expectation(
            "unique",
            "no picture twice",
            "no two pictures show the same pixels",
            "expect_column_values_to_be_unique",
            {"column": "pixels"},
        ),
        _between(
            "size",
            "large enough",
            f"the shorter side has at least {min_side_px} px",
            "side_px",
            least=min_side_px,
            shows="{:.0f} px",
        ),
        _in_set("mode", "plain RGB", "every picture is RGB, without alpha or palette", "mode", ["RGB"], shows="{}"),
    )


def _rights(licences: tuple[str, ...]) -> tuple[Expectation, ...]:
    allowed = f"the licence is one of {', '.join(licences)}"
    named = "the author is known, or the picture is in the public domain"
    return (
        _in_set("licence", "licence known and allowed", allowed, "licence", list(licences), shows="licence {!r}"),
        _in_set("author", "author named", named, "credited", [True]),
    )


def _captions(most: int, name: str) -> tuple[Expectation, ...]:
    """One word of the name will do: "Sinomacrops" stands for "Sinomacrops bondei"."""
    word = name.split()[0]
    named = f"the caption says {word!r}, the name that the model is to learn"
    pattern = {"column": "caption", "regex": f"(?i){re.escape(word)}"}
    return (
        _between("caption", "caption there", "every picture has a caption", "caption_characters", least=1),
        _between(
            "caption_length",
            "caption short enough",
            f"a caption has at most {most} words",
            "caption_words",
            most=most,
            shows="{} words",
        ),
        Expectation(
            "caption_name", "caption names the animal", named, "expect_column_values_to_match_regex", pattern, "{!r}"
        ),
    )


def _fairness(least: float) -> tuple[Expectation, ...]:
    alone = "no held-out picture, nor a near duplicate of one, is trained on"
    clear = f"CLIP prefers a kept class to every other one by a cosine of at least {least:g}"
    return (
        _between("no_leak", "no leak", alone, "splits", most=1),
        _between("class_margin", "clearly the animal", clear, "clip_margin", least=least, shows="margin {:.3f}"),
    )


def _in_set(name: str, title: str, need: str, column: str, values: list, shows: str = "") -> Expectation:
    limits = {"column": column, "value_set": values}
    return Expectation(name, title, need, "expect_column_values_to_be_in_set", limits, shows)


def _between(
    name: str,
    title: str,
    need: str,
    column: str,
    *,
    least: float | None = None,
    most: float | None = None,
    shows: str = "",
) -> Expectation:
    limits = {key: value for key, value in (("min_value", least), ("max_value", most)) if value is not None}
    return Expectation(name, title, need, "expect_column_values_to_be_between", {"column": column, **limits}, shows)


def _count(name: str, title: str, split: str, least: int) -> Expectation:
    rows = {"row_condition": f'split=="{split}"', "condition_parser": "pandas"}
    need = f"at least {least} {'is' if least == 1 else 'are'} needed"
    return Expectation(name, title, need, "expect_table_row_count_to_be_between", {"min_value": least, **rows})
