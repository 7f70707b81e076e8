from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

from pipeline.io.checks import measure, run_suite
from tests.site_fixture import picture

IN_SET = {"type": "expect_column_values_to_be_in_set", "severity": "stop"}


@pytest.fixture
def table():
    return pd.DataFrame({"file_name": ["b.png", "a.png", "c.png"], "licence": ["X", "", "CC0-1.0"]})


def test_offending_files_come_sorted_with_their_values(table):
    asked = {"name": "licence", **IN_SET, "kwargs": {"column": "licence", "value_set": ["CC0-1.0"]}}
    found = run_suite(table, [asked])["licence"]
    assert found == {"success": False, "observed": None, "n": 3, "offending": {"a.png": "", "b.png": "X"}, "error": ""}
    assert list(found["offending"]) == ["a.png", "b.png"]


def test_a_count_says_what_it_saw(table):
    kwargs = {"min_value": 5, "row_condition": 'licence=="X"', "condition_parser": "pandas"}
    counted = {"name": "n", "type": "expect_table_row_count_to_be_between", "severity": "warn", "kwargs": kwargs}
    assert run_suite(table, [counted])["n"] == {"success": False, "observed": 1, "n": 1, "offending": {}, "error": ""}


def test_an_expectation_that_cannot_be_checked_fails_with_the_reason(table):
    asked = {"name": "lost", **IN_SET, "kwargs": {"column": "nowhere", "value_set": [1]}}
    found = run_suite(table, [asked])["lost"]
    assert not found["success"]
    assert "nowhere" in found["error"]


def test_nothing_volatile_comes_out(table):
    asked = {"name": "licence", **IN_SET, "kwargs": {"column": "licence", "value_set": ["X"]}}
    first, second = (json.dumps(run_suite(table, [asked]), default=str) for _ in range(2))
    assert first == second
    assert "run_id" not in first
    assert "202" not in first


def test_pictures_are_measured_in_order(tmp_path):
    picture(1, 40).save(tmp_path / "a.png")
    picture(1, 40).convert("L").save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"nothing")
    (tmp_path / "d.png").write_bytes((tmp_path / "a.png").read_bytes()[:90])
    measured = measure(tmp_path, ["d.png", "c.png", "b.png", "a.png", "e.png"])
    expected = ["the picture is damaged", "the file is no picture", "", "", "the file is missing"]
    assert measured["problem"].tolist() == expected
    assert measured.loc[3, ["width_px", "height_px", "mode"]].tolist() == [40, 40, "RGB"]
    assert measured.loc[2, "pixels"] != measured.loc[3, "pixels"]


def test_great_expectations_waits_until_it_is_needed():
    code = "import sys, pipeline.io.checks; print('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
