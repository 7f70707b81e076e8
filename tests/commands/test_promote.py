"""`paleo promote` with real MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.commands.promote import promote
from pipeline.core import params as params_module
from pipeline.core.errors import InputError, PaleoError
from pipeline.core.paths import Paths
from pipeline.core.releases import ModelVersion, with_alias
from pipeline.io.tracking import mlflow_registry, mlflow_store
from tests.registry.test_promotion_gate import measured

ROOT = Path(__file__).parents[2]
PARAMS = params_module.load(ROOT / "params.yaml")
KEY = "sinomacrops"


@pytest.fixture
def three_versions(project) -> Path:
    """Three versions: 1 is champion, 2 is worse, 3 the challenger and better."""
    client = mlflow_store.connect(project)
    client.create_registered_model(KEY)
    for accuracy in (0.8, 0.7, 0.9):
        client.create_model_version(KEY, str(project), tags=measured(accuracy))
    client.set_registered_model_alias(KEY, "champion", "1")
    client.set_registered_model_alias(KEY, "challenger", "3")
    return project


def line(root: Path, **how) -> str:
    [printed] = promote(PARAMS, Paths(root, KEY), **how).lines
    return printed


def champion(root: Path) -> ModelVersion:
    return with_alias(mlflow_registry.versions(mlflow_store.connect(root), KEY), "champion")


def test_the_challenger_is_promoted_when_it_is_better_and_the_version_says_why(three_versions):
    assert line(three_versions) == (
        f"{KEY}: version 3 is champion instead of version 1; species accuracy 90.0 % beats 80.0 % of version 1"
    )
    tags = champion(three_versions).tags
    assert tags["promoted_from"] == "1"
    assert tags["promoted_by"]
    assert tags["promoted_at"].endswith("Z")
    assert tags["gate_report"] == "species accuracy 90.0 % beats 80.0 % of version 1"
    assert line(three_versions) == f"{KEY}: version 3 is the champion already"


def test_a_worse_version_needs_a_reason_and_the_reason_stays(three_versions):
    with pytest.raises(PaleoError) as raised:
        line(three_versions, version=2)
    assert str(raised.value) == (
        f"{KEY} stays with version 1: species accuracy 70.0 % does not beat 80.0 % of version 1; "
        "`--force REASON` promotes it nevertheless"
    )
    assert champion(three_versions).number == 1
    line(three_versions, version=2, force="prettier feet")
    assert champion(three_versions).number == 2
    report = champion(three_versions).tags["gate_report"]
    assert report.startswith("forced: prettier feet (species accuracy 70.0 % does not")


def test_a_rollback_is_the_same_and_the_history_has_every_move(three_versions, monkeypatch):
    moments = iter(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])
    monkeypatch.setattr("pipeline.commands.promote._now", lambda: next(moments))
    line(three_versions)
    line(three_versions, version=1, force="version 3 draws two heads")
    assert champion(three_versions).number == 1
    history = mlflow_store.connect(three_versions).get_registered_model(KEY).tags
    assert sorted(history) == ["promotion.2026-01-01T00:00:00Z", "promotion.2026-01-02T00:00:00Z"]
    assert "version 1 instead of 3" in history["promotion.2026-01-02T00:00:00Z"]
    assert "two heads" in history["promotion.2026-01-02T00:00:00Z"]


def test_an_interrupted_promotion_is_finished_by_the_next_command(three_versions, monkeypatch):
    monkeypatch.setattr(mlflow_registry, "_move_alias", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        line(three_versions)
    assert champion(three_versions).number == 1, "the former one serves until all is written"
    monkeypatch.undo()
    monkeypatch.delenv(mlflow_store.URI, raising=False)
    assert line(three_versions) == f"{KEY}: version 3 is the champion already"
    assert champion(three_versions).number == 3


def test_an_interrupted_promotion_does_not_undo_a_later_one(three_versions):
    client = mlflow_store.connect(three_versions)
    for key, value in {"promotion": "started", "promoted_from": "1"}.items():
        client.set_model_version_tag(KEY, "2", key, value)
    client.set_registered_model_alias(KEY, "champion", "3")
    mlflow_registry.finish_promotion(client, KEY)
    assert champion(three_versions).number == 3
    assert mlflow_registry.versions(client, KEY)[1].tags["promotion"] == "overtaken"


def test_bad_requests_are_one_sentence_each(three_versions):
    with pytest.raises(InputError, match=f"{KEY} has no version 9; there are 1, 2, 3"):
        line(three_versions, version=9)
    with pytest.raises(InputError, match="dimorphodontidae has no registered version; run `paleo run dimorphodontid"):
        promote(PARAMS, Paths(three_versions, "dimorphodontidae"))
    with pytest.raises(InputError, match="--force needs a reason"):
        line(three_versions, force="  ")


def test_a_dry_run_reports_what_it_would_do(three_versions):
    report = promote(PARAMS, Paths(three_versions, KEY), dry_run=True)
    assert report.lines[0].startswith(f"{KEY}: version 3 is champion instead of version 1; ")
    assert report.lines[1] == "dry run: promote did nothing"
    assert champion(three_versions).number == 1


def test_a_refusal_is_exit_code_one(three_versions, monkeypatch, capsys):
    (three_versions / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(three_versions)
    assert main(["promote", KEY, "--version", "2"]) == 1
    assert capsys.readouterr().err.startswith(f"paleo promote: {KEY} stays with version 1: species accuracy 70.0 %")
