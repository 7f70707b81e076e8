from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline.io.great_expectations import MAX_NAMED, ExpectationResult, run_suite
from tests.project import ROOT


def _expectation(name: str, type: str, severity: str = "stop", **kwargs) -> SimpleNamespace:
    return SimpleNamespace(name=name, type=type, severity=severity, kwargs=kwargs)


def _in_set(column: str, *values, name: str = "licence") -> SimpleNamespace:
    return _expectation(name, "expect_column_values_to_be_in_set", column=column, value_set=list(values))


@pytest.fixture
def table():
    return pd.DataFrame({"file_name": ["b.png", "a.png", "c.png"], "licence": ["X", "", "CC0-1.0"]})


def test_offending_files_come_sorted_with_their_values(table):
    expectation = _in_set("licence", "CC0-1.0")
    found = run_suite(table, [expectation], "file_name")["licence"]
    offending = (("a.png", ""), ("b.png", "X"))
    assert found == ExpectationResult(success=False, observed=None, n=3, offending=offending, n_offending=2, error="")


def test_what_is_missing_is_not_judged(table):
    expectation = _in_set("licence", "CC0-1.0")
    found = run_suite(table.assign(licence=["CC0-1.0", None, None]), [expectation], "file_name")["licence"]
    assert (found.success, found.n) == (True, 1)


def test_of_many_offenders_all_are_counted_and_the_first_are_named():
    many = pd.DataFrame({"file_name": [f"{n:05d}.png" for n in reversed(range(3000))], "licence": "X"})
    expectation = _in_set("licence", "CC0-1.0")
    found = run_suite(many, [expectation], "file_name")["licence"]
    assert found.n_offending == 3000
    assert [name for name, _ in found.offending] == [f"{n:05d}.png" for n in range(MAX_NAMED)]


def test_a_count_says_what_it_saw(table):
    kwargs = {"min_value": 5, "row_condition": 'licence=="X"', "condition_parser": "pandas"}
    counted = _expectation("n", "expect_table_row_count_to_be_between", "warn", **kwargs)
    found = run_suite(table, [counted], "file_name")["n"]
    assert (found.success, found.observed, found.n, found.offending) == (False, 1, 1, ())


def test_an_expectation_that_cannot_be_checked_fails_with_the_reason(table):
    expectation = _in_set("nowhere", 1, name="lost")
    found = run_suite(table, [expectation], "file_name")["lost"]
    assert not found.success
    assert "nowhere" in found.error


def test_nothing_volatile_comes_out(table):
    expectation = _in_set("licence", "X")
    first, second = (str(run_suite(table, [expectation], "file_name")) for _ in range(2))
    assert first == second
    assert "run_id" not in first
    assert "202" not in first


ALONE = """
import socket, pandas as pd
from types import SimpleNamespace
def refuse(*arguments, **_): raise SystemExit(f"used the network for {arguments}")
socket.getaddrinfo = socket.socket.connect = refuse
from pipeline.io.great_expectations import run_suite
table = pd.DataFrame({"file_name": ["a", "b"], "x": [1, 2]})
kwargs = {"column": "x", "max_value": 1}
expectation = SimpleNamespace(name="x", type="expect_column_values_to_be_between", severity="stop", kwargs=kwargs)
print(run_suite(table, [expectation], "file_name")["x"].offending)
"""


def test_great_expectations_writes_no_file_and_uses_no_network(tmp_path):
    folders = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
    env = {**os.environ, **folders, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("(('b', 2),)\n", 0), done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_great_expectations_waits_until_it_is_needed():
    code = "import sys, pipeline.io.great_expectations; print('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
