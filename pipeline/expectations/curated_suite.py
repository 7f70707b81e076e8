"""Layer two: what a curated data set must be before anything is trained on it."""

from __future__ import annotations

import re

import pandas as pd

from pipeline.core.params import Params
from pipeline.expectations import drift
from pipeline.expectations.expectation import (
    Expectation,
    any_word,
    at_least,
    at_most,
    author_of,
    in_set,
    matches,
    matches_not,
    rights,
    rights_of,
    unique,
)
from pipeline.expectations.leaks import near_twins, twins

SPLITS = ("train", "holdout")
NEEDED = (
    "source",
    "file_name",
    "split",
    "page_url",
    "licence",
    "author",
    "caption",
    "sha256",
    "pixel_sha256",
    "phash",
    "dhash",
    "group",
    "series",
    "sharpness",
    "clip_margin",
)


def suite(params: Params, name: str) -> tuple[Expectation, ...]:
    """About the pictures of a species called `name`, in the order of the page."""
    validate = params.validate_
    return (
        *_pictures(params.curate.min_side_px, params.curate.max_aspect),
        *rights(params.collect.licences),
        *_captions(validate.caption_max_words, validate.caption_forbidden, name),
        _count("train_count", "enough training pictures", "train", validate.min_train),
        _count("holdout_count", "enough held-out pictures", "holdout", validate.min_holdout),
        *_leaks(params.curate.duplicate_phash_bits, params.curate.duplicate_dhash_bits),
        at_least(
            "class_margin",
            "clearly the animal",
            f"CLIP prefers a kept class to every other one by a cosine of at least {validate.min_class_margin:g}",
            "clip_margin",
            validate.min_class_margin,
            "margin {:.3f}",
        ),
    )


def author_suite(params: Params) -> tuple[Expectation, ...]:
    """About the authors that `authors` returns."""
    most = params.validate_.max_author_share
    need = f"no author made more than {most:.0%} of the training pictures"
    return (at_most("author_share", "no author dominates", need, "share", most, "{:.0%} of the training pictures"),)


def drift_suite(params: Params) -> tuple[Expectation, ...]:
    """About the quantities that `drift.compared` returns."""
    most = params.validate_.max_drift
    need = f"the population stability index of each quantity against the version before is at most {most:g}"
    limits = {"column": "index", "max_value": most}
    kind = "expect_column_values_to_be_between"
    return (Expectation("drift", "like the version before", need, kind, limits, "index {:.2f}", drift.NOTHING),)


def facts(table: pd.DataFrame, measured: pd.DataFrame, params: Params) -> pd.DataFrame:
    """One row per picture: what the data set says about it, and what its file really is.

    `measured` has one row per row of `table`: problem (empty when the file opens), width_px, height_px, mode, pixels
    (sha256 of what is shown). What cannot be known of an unreadable file is missing there, and fails only `decodable`.
    """
    measured = measured.set_index(table.index)
    sides = measured[["width_px", "height_px"]].astype(float)
    caption = table["caption"].fillna("")
    shared = rights_of(table, params.collect.licences), _across(table, measured["pixels"], params)
    return pd.concat(shared, axis=1).assign(
        file_name=table["file_name"],
        split=table["split"],
        problem=measured["problem"],
        pixels=measured["pixels"],
        mode=measured["mode"],
        side_px=sides.min(axis=1),
        aspect=_aspect(sides),
        caption=caption,
        caption_characters=caption.str.strip().str.len(),
        caption_words=caption.str.split().str.len(),
        sharpness=table["sharpness"].astype(float),
        clip_margin=table["clip_margin"].astype(float),
    )


def authors(table: pd.DataFrame) -> pd.DataFrame:
    """One row per known author of training pictures: author, share of all of them, file_name of the first.

    Pictures by nobody known count among all, but are not taken for the work of one hand.
    """
    train = table[table["split"] == "train"].assign(author=author_of(table))
    known = train[train["author"] != ""].groupby("author")["file_name"].agg(["size", "min"]).reset_index()
    return pd.DataFrame(
        {"author": known["author"], "share": known["size"] / max(1, len(train)), "file_name": known["min"]}
    )


def _across(table: pd.DataFrame, pixels: pd.Series, params: Params) -> pd.DataFrame:
    """For each picture the file on the other side of the split that is the same, nearly the same, of its series."""
    same = [twins(table, table[key]) for key in ("sha256", "pixel_sha256")] + [twins(table, pixels)]
    bits = params.curate.duplicate_phash_bits, params.curate.duplicate_dhash_bits
    near = twins(table, table["group"]), near_twins(table, *bits)
    return pd.DataFrame(
        {"same": _first(*same), "near": _first(*near), "series": twins(table, table["series"])}, index=table.index
    )


def _first(*columns: pd.Series) -> pd.Series:
    """Of each row the first value that is not empty."""
    found = columns[0]
    for column in columns[1:]:
        found = found.mask(found == "", column)
    return found


def _aspect(sides: pd.DataFrame) -> pd.Series:
    """Longer by shorter side; half a pixel each is forgiven, which reducing a picture may have rounded."""
    return (sides.max(axis=1) - 0.5) / (sides.min(axis=1) + 0.5)


def _pictures(min_side_px: int, max_aspect: float) -> tuple[Expectation, ...]:
    return (
        in_set("decodable", "readable", "every picture is there and can be opened", "problem", [""], "{}"),
        unique("unique", "no picture twice", "no two pictures show the same pixels", "pixels"),
        at_least(
            "size",
            "large enough",
            f"the shorter side has at least {min_side_px} px",
            "side_px",
            min_side_px,
            "{:.0f} px",
        ),
        at_most(
            "aspect",
            "not too long",
            f"the longer side is at most {max_aspect:g} times the shorter one",
            "aspect",
            max_aspect,
            "{:.1f} times as long",
        ),
        in_set("mode", "plain RGB", "every picture is RGB, without alpha or palette", "mode", ["RGB"], "{}"),
    )


def _captions(most: int, forbidden: tuple[str, ...], name: str) -> tuple[Expectation, ...]:
    """One word of the name will do: "Sinomacrops" stands for "Sinomacrops bondei"."""
    word = name.split()[0]
    lacks = f"a caption has none of the words {', '.join(forbidden)}" if forbidden else "no word is forbidden"
    return (
        at_least("caption", "caption there", "every picture has a caption", "caption_characters", 1),
        at_most(
            "caption_length",
            "caption short enough",
            f"a caption has at most {most} words",
            "caption_words",
            most,
            "{:.0f} words",
        ),
        matches_not("caption_vocabulary", "caption of a living animal", lacks, "caption", any_word(forbidden)),
        matches(
            "caption_name",
            "caption names the animal",
            f"the caption says {word!r}, the name that the model is to learn",
            "caption",
            f"(?i){re.escape(word)}",
        ),
    )


def _leaks(phash_bits: int, dhash_bits: int) -> tuple[Expectation, ...]:
    near = f"of no held-out picture a near duplicate is trained on (pHash ≤ {phash_bits}, dHash ≤ {dhash_bits} bits)"
    return (
        in_set(
            "no_leak",
            "no leak",
            "no held-out picture is trained on, by its bytes or its pixels",
            "same",
            [""],
            "the same as {}",
        ),
        in_set("near_leak", "no near leak", near, "near", [""], "like {}"),
        in_set(
            "series_leak",
            "no series on both sides",
            "no series of pictures is partly held out, partly trained on",
            "series",
            [""],
            "a series with {}",
        ),
    )


def _count(name: str, title: str, split: str, least: int) -> Expectation:
    rows = {"row_condition": f'split=="{split}"', "condition_parser": "pandas"}
    need = f"at least {least} {'is' if least == 1 else 'are'} needed"
    return Expectation(name, title, need, "expect_table_row_count_to_be_between", {"min_value": least, **rows}, "{}")
