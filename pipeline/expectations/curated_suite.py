"""Expectations about curated pictures: what must hold of them before anything is trained on them."""

from __future__ import annotations

import re

import pandas as pd

from pipeline.expectations.expectation import (
    Expectation,
    any_word,
    at_least,
    at_most,
    in_set,
    matches,
    matches_not,
    unique,
)
from pipeline.expectations.rights import author_of, rights
from pipeline.expectations.suite import DataSet, Limits, Suite


def expectations(limits: Limits) -> tuple[Expectation, ...]:
    """About pictures, in the order of the page."""
    validate = limits.validate
    return (
        *_pictures(limits.min_side_px, limits.max_aspect),
        *rights(limits.licences),
        *_captions(validate.caption_max_words, validate.caption_forbidden, limits.name),
        _count("train_count", "enough training pictures", "train", validate.min_train),
        _count("holdout_count", "enough held-out pictures", "holdout", validate.min_holdout),
        *_leaks(limits.phash_bits, limits.dhash_bits),
        at_least(
            "class_margin",
            "clearly the animal",
            f"CLIP prefers a kept class to every other one by a cosine of at least {validate.min_class_margin:g}",
            "clip_margin",
            validate.min_class_margin,
            "margin {:.3f}",
            "warn",
        ),
    )


def author_expectations(limits: Limits) -> tuple[Expectation, ...]:
    """About the authors of training pictures."""
    most = limits.validate.max_author_share
    need = f"no author made more than {most:.0%} of the training pictures"
    shown = "{:.0%} of the training pictures"
    return (at_most("author_share", "no author dominates", need, "share", most, shown, "warn"),)


def author_facts(data: DataSet) -> pd.DataFrame:
    """One row per known author of training pictures: author, share of all of them, file_name of the first.

    Pictures by nobody known count among all, but are not taken for the work of one author.
    """
    kept = data.kept
    train = kept[kept["split"] == "train"].assign(author=author_of(kept))
    known = train[train["author"] != ""].groupby("author")["file_name"].agg(["size", "min"]).reset_index()
    share = known["size"] / max(1, len(train))
    return pd.DataFrame({"author": known["author"], "share": share, "file_name": known["min"]})


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
            "warn",
        ),
        in_set("mode", "plain RGB", "every picture is RGB, without alpha or palette", "mode", ["RGB"], "{}"),
    )


def _captions(max_words: int, forbidden: tuple[str, ...], name: str) -> tuple[Expectation, ...]:
    """One word of the name is enough: "Sinomacrops" stands for "Sinomacrops bondei"."""
    word = name.split()[0]
    lacks = f"a caption has none of the words {', '.join(forbidden)}" if forbidden else "no word is forbidden"
    return (
        at_least("caption", "caption there", "every picture has a caption", "caption_characters", 1),
        at_most(
            "caption_length",
            "caption short enough",
            f"a caption has at most {max_words} words",
            "caption_words",
            max_words,
            "{:.0f} words",
            "warn",
        ),
        matches_not(
            "caption_vocabulary", "caption of a living animal", lacks, "caption", any_word(forbidden), severity="warn"
        ),
        matches(
            "caption_name",
            "caption names the animal",
            f"the caption says {word!r}, the name that the model is to learn",
            "caption",
            f"(?i){re.escape(word)}",
            severity="warn",
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


PICTURES = Suite("curated", "pictures", "file_name", lambda data: data.pictures, expectations)
AUTHORS = Suite("curated", "authors", "author", author_facts, author_expectations)
