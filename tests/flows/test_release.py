"""When is a version already registered? Only if the store itself has it."""

from __future__ import annotations

import json
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from flows import release
from tests.flows import mini_project as mini


@pytest.fixture
def registered(finished, monkeypatch):
    """A finished project whose store has version 1 of ants."""
    monkeypatch.chdir(finished)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with sqlite3.connect("mlflow.db") as database:
        database.execute("CREATE TABLE model_versions (name TEXT, version INTEGER, current_stage TEXT)")
        database.execute("INSERT INTO model_versions VALUES ('ants', 1, 'None')")
    return finished


def is_released() -> bool:
    return release.is_released("ants", release.digest("ants"))


def store_has_it() -> bool:
    """Is it there, whatever else has changed, such as where links lead?"""
    return release.is_released("ants", Path(".work/release/ants.stamp").read_text())


def test_what_is_registered_is_not_registered_again(registered):
    assert is_released()


@pytest.mark.parametrize("loss", ["mlflow.db", ".work/release/ants.json", ".work/release/ants.stamp"])
def test_a_lost_store_or_note_is_noticed(registered, loss):
    (registered / loss).unlink()
    assert not is_released()


def test_a_deleted_version_is_noticed(registered):
    with sqlite3.connect("mlflow.db") as database:
        database.execute("UPDATE model_versions SET current_stage = 'Deleted_Internal'")
    assert not is_released()


def test_a_moved_project_is_registered_again_because_that_mends_its_store(registered):
    with sqlite3.connect("mlflow.db") as database:
        database.execute("ALTER TABLE model_versions ADD COLUMN storage_location TEXT")
        database.execute("UPDATE model_versions SET storage_location = ?", [f"{registered}/mlartifacts/ants/models/m"])
    assert is_released()
    with sqlite3.connect("mlflow.db") as database:
        database.execute("UPDATE model_versions SET storage_location = '/old/mlartifacts/ants/models/m'")
    assert not is_released()


def test_a_new_result_or_another_rule_for_the_champion_is_registered(registered):
    lock, params = registered / "dvc.lock", registered / "params.yaml"
    before = release.digest("ants")
    lock.write_text(lock.read_text().replace("models/ants", "models/aunts"))
    changed = release.digest("ants")
    params.write_text(params.read_text() + "register: {min_gain: 0.5}\n")
    assert len({before, changed, release.digest("ants")}) == 3


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "postgresql://somewhere/else"])
def test_a_store_that_cannot_be_queried_is_registered_to_again(registered, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert not store_has_it()


class Registry(BaseHTTPRequestHandler):
    """MLflow's answer about a version, to who sends the right `Authorization`; `/elsewhere` leads to another host."""

    seen: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization", "")
        self.seen.append((self.headers["Host"], sent))
        if self.path.startswith("/elsewhere"):
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/api")
        else:
            self.send_response(200 if sent in (USER, TOKEN) else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


USER, TOKEN = "Basic bWU6YSBzZWNyZXQ=", "Bearer abc"  # me:a secret


@pytest.fixture
def registry(registered, monkeypatch, tmp_path):
    """The address of a registry with a password, and a home without MLflow's file of credentials."""
    monkeypatch.setenv("HOME", str(tmp_path))
    Registry.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, False),
        ({"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "a secret"}, True),
        ({"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "wrong"}, False),
        ({"MLFLOW_TRACKING_TOKEN": "abc"}, True),
    ],
)
def test_the_registry_is_queried_with_the_credentials_of_the_environment(registry, monkeypatch, variables, found):
    """Without them it seemed to lack every version, and every run registered again."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{registry}/")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert store_has_it() is found


def test_the_registry_is_queried_with_the_credentials_of_its_address_or_of_mlflows_file(
    registry, monkeypatch, tmp_path
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:a%20secret@{registry}")
    assert store_has_it()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{registry}")
    (tmp_path / ".mlflow").mkdir()
    file = "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = a secret\n"
    (tmp_path / ".mlflow/credentials").write_text(file)
    assert store_has_it()


def test_credentials_go_to_no_other_host(registry, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{registry}/elsewhere")
    assert not store_has_it()
    assert Registry.seen == [(registry, "Bearer abc"), (registry.replace("127.0.0.1", "localhost"), "")]


def test_the_table_shows_what_there_is(registered):
    row, empty = release.rows(["ants", "nobody"], [])
    assert release.cells(row) == ("ants", "3", "25% → 100%", "v1 (champion)", "0")
    assert release.cells(empty) == ("nobody", "–", "– → –", "–", "0")


def test_a_registry_that_refuses_fails_the_run_with_its_sentence(finished, server):
    text = (finished / "pipeline/__main__.py").read_text()
    broken = text.replace(
        "def register(*keys):\n",
        "def register(*keys):\n    sys.exit('paleo register: the registry does not answer; start it')\n",
    )
    assert broken != text
    (finished / "pipeline/__main__.py").write_text(broken)
    done = mini.flows(finished, "run", **server)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "paleo run: register failed: the registry does not answer; start it" in done.stderr
    assert json.loads((finished / "reports/evaluation/ants/metrics.json").read_text())["chosen_step"] == 3


def test_servers_at_other_addresses_are_a_reason_to_write_the_links_again(registered):
    assert is_released()
    (registered / ".work/addresses.json").write_text('{"gallery": "http://127.0.0.1:8081"}')
    assert not is_released()
