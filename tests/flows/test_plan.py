"""What `paleo plan` prints: stale stages and why, cached ones as a number, how long; no old result as a new one."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys

import pytest

from flows import durations, graph, project, release, tables
from flows.graph import Graph, Stage
from flows.reproduce import Outcome
from tests.flows import mini_project as mini


def stage(name: str, action: graph.Action = "run", why: str = "never ran") -> Stage:
    return Stage(name, (), (), (), True, "core", action, (why,) if action != "cached" else ())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "params.yaml").write_text("species: {ants: {}, bees: {}}\ntrain: {steps: 100}\n")
    return tmp_path


def test_cached_stages_are_a_number_and_no_line_is_longer_than_eighty_columns(here, capsys):
    long = "its code changed (pipeline/a_long_name.py, pipeline/another_long_name.py, pipeline/third.py and 40 more)"
    stages = [stage("collect@ants", "cached"), stage("curate@ornithocheiromorpha", why=long), stage("gallery", "after")]
    tables.show_plan(Graph(tuple(stages)))
    printed = capsys.readouterr().out
    assert "collect@ants" not in printed and "1 run, 1 after, 1 cached" in printed
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80 and lines[0].startswith("stage")
    assert 1 <= sum("pipeline/" in line for line in lines) <= tables.WHY_LINES
    assert "…" in printed


def test_many_species_of_which_the_same_is_true_are_one_row(here, capsys):
    keys = [f"kind{number}" for number in range(30)]
    stages = [stage(f"{kind}@{key}", why=f"species.{key}.name: a → b") for kind in ("curate", "train") for key in keys]
    tables.show_plan(Graph((*stages, stage("train@ants", why="train.steps: 3 → 5"))))
    printed = capsys.readouterr().out
    assert "curate of 30 species" in printed and "species.SPECIES.name: a → b" in printed
    assert "train@ants" in printed and len(printed.splitlines()) < 10


def test_minutes_are_those_of_earlier_runs_and_grow_with_the_steps(here, capsys):
    tables.show_plan(Graph((stage("train@ants"),)))
    assert "how long is unknown, as none of these was timed here yet" in capsys.readouterr().out
    durations.record(stage("train@ants"), 60.0)
    durations.record(stage("curate@ants"), 30.0)
    (here / "params.yaml").write_text("species: {ants: {}, bees: {}}\ntrain: {steps: 300}\n")
    stages = (stage("train@ants"), stage("train@bees"), stage("curate@bees"), stage("gallery"))
    assert durations.estimate(stages) == {"train@ants": 180.0, "train@bees": 180.0, "curate@bees": 30.0}
    tables.show_plan(Graph(stages))
    printed = " ".join(capsys.readouterr().out.split())
    assert "by earlier runs about 6 min one by one, and 1 stage was never timed" in printed
    (here / ".work/seconds/train@ants.json").write_text("{")
    assert "train@ants" not in durations.estimate((stage("train@ants"),))


def test_a_run_at_work_is_said_and_ended_ones_are_not(here, capsys):
    (here / ".work").mkdir()
    (here / ".work/run.lock").write_text("4711")
    assert project.run_at_work() == ""
    with (here / ".work/run.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        tables.show_plan(Graph((stage("gallery"),)))
    assert "a run is at work here (process 4711)" in capsys.readouterr().out


def test_no_advice_to_remove_locks_of_dvc_while_a_process_works(fresh):
    """DVC's own message for this ends with "you can manually remove '.dvc/tmp/rwlock' and try again"."""
    worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lock = {"write": {str(fresh / "data/raw/ants"): {"pid": worker.pid, "cmd": "dvc repro"}}, "read": {}}
    try:
        (fresh / ".dvc/tmp").mkdir(exist_ok=True)
        (fresh / ".dvc/tmp/rwlock").write_text(json.dumps(lock))
        done = mini.flows(fresh, "plan")
    finally:
        worker.communicate(b"\n")
    assert done.returncode == 0, done.stderr
    assert "collect@ants" in done.stdout and graph.BUSY in done.stdout
    assert "remove" not in done.stdout + done.stderr and "rwlock" not in done.stdout + done.stderr
    (fresh / ".dvc/tmp/rwlock").write_text(json.dumps(lock))  # now of a process that has ended
    later = mini.flows(fresh, "plan")
    assert graph.BUSY not in later.stdout and "killed" not in later.stderr


def test_a_failed_run_marks_the_result_of_an_earlier_one(here):
    for key in ("ants", "bees"):
        folder = here / f"reports/evaluation/{key}"
        folder.mkdir(parents=True)
        scores = {"chosen_step": 50, "base": {"species_accuracy": 0.2}, "chosen": {"species_accuracy": 0.9}}
        (folder / "metrics.json").write_text(json.dumps(scores))
    outcomes = [
        Outcome(stage("train@ants"), "failed", message="no memory"),
        Outcome(stage("evaluate@ants"), "not run"),
        Outcome(stage("evaluate@bees"), "ran", 3.0),
    ]
    ants, bees = (release.cells(row) for row in release.rows(["ants", "bees"], outcomes))
    assert ants[1] == "50 (earlier run)" and bees[1] == "50"
