"""Where links lead: the environment, the last `paleo up`, or where it serves by default."""

from __future__ import annotations

import json

import pytest

from pipeline.core.server_addresses import ServerAddresses, parse

WRITTEN = json.dumps({"gallery": "http://127.0.0.1:8081/", "mlflow": "http://127.0.0.1:5001", "schedule": "http://x"})


def test_what_is_nearest_holds():
    assert parse("", {}) == ServerAddresses()
    assert parse(WRITTEN, {}) == ServerAddresses(mlflow="http://127.0.0.1:5001", gallery="http://127.0.0.1:8081")
    named = {"PREFECT_UI_URL": "https://prefect.example.org/", "MLFLOW_TRACKING_URI": "https://mlflow.example.org"}
    at = parse(WRITTEN, named)
    assert at.flow_run("7") == "https://prefect.example.org/runs/flow-run/7"
    assert at.model_version("dodo", 3) == "https://mlflow.example.org/#/models/dodo/versions/3"
    assert at.species("dodo") == "http://127.0.0.1:8081/dodo/index.html"


def test_links_hold_no_password():
    at = parse("", {"MLFLOW_TRACKING_URI": "https://me:a%20secret@mlflow.example.org:5001/"})
    assert at.mlflow == "https://mlflow.example.org:5001"


@pytest.mark.parametrize("damaged", ["{", "[" * 100_000, "[]", "7", '{"gallery": 7}', "null"])
def test_a_damaged_file_is_no_file(damaged):
    assert parse(damaged, {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}) == ServerAddresses()
