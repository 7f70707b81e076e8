from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from pipeline.io.great_expectations import NAMED_AT_MOST, measure, run_suite, sizes
from tests.project import ROOT
from tests.site_fixture import picture

IN_SET = {"type": "expect_column_values_to_be_in_set", "severity": "stop"}


@pytest.fixture
def table():
    return pd.DataFrame({"file_name": ["b.png", "a.png", "c.png"], "licence": ["X", "", "CC0-1.0"]})


def test_offending_files_come_sorted_with_their_values(table):
    asked = {"name": "licence", **IN_SET, "kwargs": {"column": "licence", "value_set": ["CC0-1.0"]}}
    found = run_suite(table, [asked], "file_name")["licence"]
    offending = [("a.png", ""), ("b.png", "X")]
    assert found == {"success": False, "observed": None, "n": 3, "offending": offending, "n_offending": 2, "error": ""}


def test_what_is_missing_is_not_judged(table):
    asked = {"name": "licence", **IN_SET, "kwargs": {"column": "licence", "value_set": ["CC0-1.0"]}}
    found = run_suite(table.assign(licence=["CC0-1.0", None, None]), [asked], "file_name")["licence"]
    assert (found["success"], found["n"]) == (True, 1)


def test_of_many_offenders_all_are_counted_and_the_first_are_named():
    many = pd.DataFrame({"file_name": [f"{n:05d}.png" for n in reversed(range(3000))], "licence": "X"})
    asked = {"name": "licence", **IN_SET, "kwargs": {"column": "licence", "value_set": ["CC0-1.0"]}}
    found = run_suite(many, [asked], "file_name")["licence"]
    assert found["n_offending"] == 3000
    assert [name for name, _ in found["offending"]] == [f"{n:05d}.png" for n in range(NAMED_AT_MOST)]


def test_a_count_says_what_it_saw(table):
    kwargs = {"min_value": 5, "row_condition": 'licence=="X"', "condition_parser": "pandas"}
    counted = {"name": "n", "type": "expect_table_row_count_to_be_between", "severity": "warn", "kwargs": kwargs}
    found = run_suite(table, [counted], "file_name")["n"]
    assert (found["success"], found["observed"], found["n"], found["offending"]) == (False, 1, 1, [])


def test_an_expectation_that_cannot_be_checked_fails_with_the_reason(table):
    asked = {"name": "lost", **IN_SET, "kwargs": {"column": "nowhere", "value_set": [1]}}
    found = run_suite(table, [asked], "file_name")["lost"]
    assert not found["success"]
    assert "nowhere" in found["error"]


def test_nothing_volatile_comes_out(table):
    asked = {"name": "licence", **IN_SET, "kwargs": {"column": "licence", "value_set": ["X"]}}
    first, second = (json.dumps(run_suite(table, [asked], "file_name"), default=str) for _ in range(2))
    assert first == second
    assert "run_id" not in first
    assert "202" not in first


def test_pictures_are_measured_in_order(tmp_path):
    picture(1, 40).save(tmp_path / "a.png")
    picture(1, 40).convert("L").save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"nothing")
    (tmp_path / "d.png").write_bytes((tmp_path / "a.png").read_bytes()[:90])
    measured = measure(tmp_path, ["d.png", "c.png", "b.png", "a.png", "e.png"], "validate")
    expected = ["the picture is damaged", "the file is no picture", "", "", "the file is missing"]
    assert measured["problem"].tolist() == expected
    assert measured.loc[3, ["width_px", "height_px", "mode"]].tolist() == [40, 40, "RGB"]
    assert measured.loc[2, "pixels"] != measured.loc[3, "pixels"]


def test_stored_files_come_with_their_sizes(tmp_path):
    (tmp_path / "images/folder").mkdir(parents=True)
    (tmp_path / "images/a.png").write_bytes(b"123")
    assert sizes(tmp_path, "images") == {"images/a.png": 3}
    assert sizes(tmp_path, "nowhere") == {}


ALONE = """
import socket, pandas as pd
def refuse(*arguments, **_): raise SystemExit(f"asked the network for {arguments}")
socket.getaddrinfo = socket.socket.connect = refuse
from pipeline.io.great_expectations import run_suite
table = pd.DataFrame({"file_name": ["a", "b"], "x": [1, 2]})
kwargs = {"column": "x", "max_value": 1}
asked = {"name": "x", "type": "expect_column_values_to_be_between", "severity": "stop", "kwargs": kwargs}
print(run_suite(table, [asked], "file_name")["x"]["offending"])
"""


def test_great_expectations_writes_no_file_and_asks_no_network(tmp_path):
    folders = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
    env = {**os.environ, **folders, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[('b', 2)]\n", 0), done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_great_expectations_waits_until_it_is_needed():
    code = "import sys, pipeline.io.great_expectations; print('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
