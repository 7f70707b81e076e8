from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from pipeline.expectations import EXPECTATIONS, curated_suite
from pipeline.expectations.expectation import any_word
from pipeline.expectations.rights import author_of, rights_of
from pipeline.expectations.suite import DataSet, Limits
from tests import site_fixture, verdict_rows

POLICY = ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-3.0")
LIMITS = Limits("Any name", POLICY, 96, 4.0, 6, 8, site_fixture.params().validate_)
NOTHING = DataSet(pd.DataFrame(), {}, pd.DataFrame(), pd.DataFrame(), LIMITS)


def _rows(**columns) -> pd.DataFrame:
    plain = {"source": "commons:x", "page_url": "https://example.org/1", "author": "", "licence": "CC0-1.0"}
    number = len(next(iter(columns.values())))
    return pd.DataFrame({name: [value] * number for name, value in plain.items()} | columns)


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("a skeleton on rock", True),
        ("SKELETONS", True),
        ("two torches", True),
        ("the libraries of Alexandria", True),
        ("a library", True),
        ("toys", True),
        ("a mapped coast", False),
        ("skeletal", False),
        ("Sinomacrops bondei", False),
    ],
)
def test_forbidden_words_are_whole_words_in_any_case_and_number(caption, found):
    pattern = any_word(("skeleton", "map", "torch", "library", "toy"))
    assert bool(re.search(pattern, caption)) is found


def test_without_forbidden_words_nothing_is_forbidden():
    assert not re.search(any_word(()), "a skeleton")
    assert re.search(any_word(("c++ (code)",)), "no c++ (code) here") is None  # no word ends there, and no error either


def test_licences_are_named_as_the_allow_list_spells_them():
    licences = ["cc-by-4.0", "CC-BY-SA-3.0-DE", "CC-BY-NC-4.0", " CC0-1.0", None]
    found = rights_of(_rows(licence=licences), POLICY)["licence"].tolist()
    assert found == ["CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-NC-4.0", "CC0-1.0", ""]


def test_an_author_is_needed_unless_the_picture_is_in_the_public_domain():
    table = _rows(author=["Ada", " ", "Unknown author", "anonymous", None], licence=["CC-BY-4.0"] * 5)
    assert author_of(table).tolist() == ["Ada", "", "", "", ""]
    assert rights_of(table, POLICY)["credited"].tolist() == [True, False, False, False, False]
    assert rights_of(table.assign(licence="PDM-1.0"), POLICY)["credited"].all()


def test_only_pictures_from_the_web_have_a_page_to_ask_for():
    table = _rows(source=["commons:x", "folder:pictures", "synthetic:x", "addresses:list.txt"], page_url=[""] * 4)
    assert rights_of(table, POLICY)["page"].isna().tolist() == [False, True, True, False]


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_every_expectation_reads_a_column_that_its_facts_have(name):
    stored = verdict_rows.verdicts(verdict_rows.row("a"), verdict_rows.row("b", split="holdout"))
    manifest = verdict_rows.manifest(stored, verdict_rows.refused("c", "not_an_image"))
    inspected = pd.DataFrame({"problem": "", "width_px": 9, "height_px": 9, "mode": "RGB", "pixels": ["x", "y"]})
    suite = EXPECTATIONS[name]
    facts = suite.facts(DataSet(manifest, {}, stored, inspected, LIMITS))
    columns = {expectation.kwargs.get("column", "split") for expectation in suite.expectations(LIMITS)}
    assert columns | {suite.index} <= set(facts.columns)


def _authors(*rows: dict) -> pd.DataFrame:
    return curated_suite.author_facts(replace(NOTHING, kept=verdict_rows.verdicts(*rows)))


def test_a_share_counts_all_training_pictures_and_no_held_out_one():
    authors = ["Bob", "Ada", "Ada", "unknown", "Ada"]
    rows = [verdict_rows.row(str(n), author=author, file_name=f"{n}.png") for n, author in enumerate(authors)]
    rows[4]["split"] = "holdout"
    found = _authors(*rows)
    assert found.to_dict("list") == {"author": ["Ada", "Bob"], "share": [0.5, 0.25], "file_name": ["1.png", "0.png"]}
    assert _authors().empty
