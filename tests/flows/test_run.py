"""`paleo run` and `paleo plan` with real Prefect and DVC on the mini project."""

from __future__ import annotations

import json
import signal
import sqlite3
import time

import httpx
import psutil
import pytest

from tests.flows import mini_project as mini

ALL = [
    "collect@ants",
    "collect@bees",
    "curate@ants",
    "curate@bees",
    "evaluate@ants",
    "evaluate@bees",
    "gallery@",
    "register@ants,bees",
    "train@ants",
    "train@bees",
]


def flow_runs(server: dict[str, str]) -> list[dict]:
    """Newest first; those that the schedule has planned for later have no start yet and would come before them."""
    begun = {"state": {"type": {"not_any_": ["SCHEDULED"]}}}
    query = {"sort": "START_TIME_DESC", "flow_runs": begun}
    return mini.prefect(server).post("/flow_runs/filter", json=query).json()


def task_states(server: dict[str, str], run_id: str) -> dict[str, str]:
    """Name of the task run -> name of its state, once all have arrived."""
    query = {"flow_runs": {"id": {"any_": [run_id]}}, "limit": 200}
    tasks = mini.prefect(server).post("/task_runs/filter", json=query).json()
    return {task["name"]: task["state_name"] for task in tasks}


def overlap(started: dict, one: str, other: str) -> bool:
    (from_one,), (to_one,) = started[one], started[f"end-{one}"]
    (from_other,), (to_other,) = started[other], started[f"end-{other}"]
    return from_one < to_other and from_other < to_one


def test_everything_runs_once_side_by_side_where_it_can(finished_template):
    folder, done = finished_template
    assert done.returncode == 0, done.stdout + done.stderr
    started = mini.started(folder)
    assert mini.ran(folder) == ALL and all(len(times) == 1 for times in started.values())
    assert overlap(started, "curate@ants", "curate@bees")
    assert not overlap(started, "train@ants", "train@bees")
    assert "ants     3            25% → 100%        v1 (champion)" in done.stdout
    assert mini.dvc(folder, "status") == "Data and pipelines are up to date."


def test_a_run_is_known_by_its_name_and_tags_and_links_what_came_out(fresh, server):
    """In Prefect, over http; its tasks carry no tags, for each of which Prefect would look for a limit."""
    done = mini.flows(fresh, "run", "ants", **server)
    assert done.returncode == 0, done.stdout + done.stderr
    run = flow_runs(server)[0]
    assert (run["name"], run["tags"]) == ("ants", ["ants", "dreambooth", "paleo run"])
    query = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    found = {each["key"]: each["data"] for each in mini.prefect(server).post("/artifacts/filter", json=query).json()}
    assert found["gallery-ants"] == "[gallery](http://127.0.0.1:8080/ants/index.html)"
    assert "v1 (champion)" in found["results"] and "(http://127.0.0.1:8080/ants/index.html)" in found["results"]
    assert not [key for key, text in found.items() if "file://" in str(text)]
    query = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    tasks = mini.prefect(server).post("/task_runs/filter", json=query).json()
    assert len(tasks) > 3 and not any(task["tags"] for task in tasks)


def test_again_nothing_runs_and_every_stage_is_cached(finished, server):
    done = mini.flows(finished, "run", **server)
    assert done.returncode == 0, done.stderr
    assert mini.ran(finished) == ["register@ants,bees"]  # there is no mlflow.db that would vouch for the versions
    newest = flow_runs(server)[0]["id"]
    stages = [name.rstrip("@") for name in ALL if not name.startswith("register")]
    mini.until(lambda: len(task_states(server, newest)) == 10, "all task runs have arrived", 20)
    states = task_states(server, newest)
    assert {states[name] for name in stages} == {"Cached"}


def test_after_dvc_repro_there_is_nothing_to_do(finished, server):
    text = (finished / "params.yaml").read_text()
    (finished / "params.yaml").write_text(text.replace("steps: 3", "steps: 2"))
    mini.dvc(finished, "repro")
    mini.forget(finished)
    done = mini.flows(finished, "plan")
    assert "9 cached; nothing to do" in done.stdout


def test_a_changed_param_runs_its_branch_and_what_comes_out_equal_stops_there(finished, server):
    text = (finished / "params.yaml").read_text()
    (finished / "params.yaml").write_text(text.replace("{name: Ants", "{name: Aunts"))
    planned = mini.flows(finished, "plan")
    assert "species.ants.name: Ants → Aunts" in planned.stdout
    done = mini.flows(finished, "run", **server)
    assert done.returncode == 0, done.stderr
    assert [name for name in mini.ran(finished) if "register" not in name] == ["train@ants"]
    assert "unchanged: what it depends on came out the same" in done.stderr
    assert mini.dvc(finished, "status") == "Data and pipelines are up to date."


def test_a_lost_result_is_restored_without_running(finished, server):
    mini.subprocess.run(["rm", "-rf", "models/ants", "site"], cwd=finished, check=True)
    done = mini.flows(finished, "run", **server)
    assert done.returncode == 0, done.stderr
    assert (finished / "models/ants/weights.json").is_file() and (finished / "site/index.json").is_file()
    assert not {"train@ants", "gallery@"} & set(mini.ran(finished))


def test_a_failure_is_one_sentence_the_rest_goes_on_and_earlier_results_stay(finished, server):
    (finished / "pipeline/curate.py").write_text("# changed")
    text = (finished / "params.yaml").read_text()
    (finished / "params.yaml").write_text(text.replace("min_side: 10", "min_side: 11"))
    mini.wish(finished, "fail", "ants")
    mini.wish(finished, "chatty")
    done = mini.flows(finished, "run", **server)
    assert done.returncode == 1
    assert "paleo run: curate@ants failed: no picture is left; add some" in done.stderr
    assert "stages were not run because of it" in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("| line ") < 100
    assert (finished / "data/curated/ants/side.json").read_text() == "10"  # put back from DVC's cache
    assert (finished / "data/curated/bees/side.json").read_text() == "11"
    assert (finished / "reports/evaluation/ants/metrics.json").is_file()
    states = task_states(server, flow_runs(server)[0]["id"])
    assert states["curate@ants"] == "Failed"
    assert {states[name] for name in ("train@ants", "evaluate@ants", "evaluate@bees", "gallery")} == {"NotRun"}
    assert "4 stages were not run because of it" in done.stderr and "Upstream" not in done.stderr
    assert len(max((finished / ".work/logs").glob("*/curate@bees.log")).read_text().splitlines()) > 5000


def test_an_interrupted_training_is_repeated_and_goes_on(finished, server):
    text = (finished / "params.yaml").read_text()
    (finished / "params.yaml").write_text(text.replace("steps: 3", "steps: 5"))
    mini.wish(finished, "interrupt", "ants")
    done = mini.flows(finished, "run", **server)
    assert done.returncode == 0, done.stderr
    assert len(mini.started(finished)["train@ants"]) == 2
    assert done.stderr.count("train@ants | step 1") == 1
    assert "Retry 1/" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "SIGTERM twice", "the pages"])
def test_a_stop_saves_and_leaves_no_process(finished, server, tmp_path, how):
    text = (finished / "params.yaml").read_text()
    (finished / "params.yaml").write_text(text.replace("steps: 3", "steps: 4"))
    mini.wish(finished, "steps", "600")
    log = tmp_path / "run.log"
    process = mini.start(finished, "run", log=log, **server)
    mini.until(lambda: "step 3" in log.read_text(), "it trains")
    stop(how, process, server)
    assert mini.ended(process) == 130, log.read_text()
    mini.until(lambda: not mini.survivors(finished), "no process is left", 10)
    step = json.loads(next((finished / ".work").glob("train-*.json")).read_text())
    assert step >= 3
    assert "continues from there" in log.read_text() and "Traceback" not in log.read_text()
    assert flow_runs(server)[0]["state_type"] == "CANCELLED"
    mini.unwish(finished, "steps")
    mini.forget(finished)
    assert mini.flows(finished, "run", **server).returncode == 0


def stop(how: str, process, server: dict[str, str]) -> None:
    if how == "Ctrl-C":
        mini.interrupt(process)
    elif how == "SIGTERM":
        process.send_signal(signal.SIGTERM)
    elif how == "SIGTERM twice":  # as GNU timeout does
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
    else:
        run_id = flow_runs(server)[0]["id"]
        state = {"state": {"type": "CANCELLING"}}
        mini.prefect(server).post(f"/flow_runs/{run_id}/set_state", json=state).raise_for_status()


def embedded_server(process) -> str:
    """The address of Prefect's API that a run has started."""
    commands = [child.cmdline() for child in psutil.Process(process.pid).children(recursive=True)]
    [command] = [command for command in commands if "flows.server_apps:prefect" in command]
    return f"http://127.0.0.1:{command[command.index('--port') + 1]}/api"


def test_without_a_server_an_embedded_one_keeps_the_run_and_ends_with_it(finished, tmp_path):
    log = tmp_path / "run.log"
    process = mini.start(finished, "run", log=log)
    mini.until(lambda: "collect@ants" in log.read_text(), "it runs")
    api = embedded_server(process)
    assert httpx.post(f"{api}/flows/filter", json={}).status_code == 401, "nobody else has its password"
    for forged in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        assert httpx.get(f"{api}/health", headers=forged).status_code == 403
    assert mini.ended(process) == 0, log.read_text()
    assert not mini.survivors(finished)
    with sqlite3.connect(finished / ".work/prefect/prefect.db") as database:
        assert database.execute("SELECT state_type FROM flow_run").fetchall() == [("COMPLETED",)]
        assert database.execute("SELECT count(*) FROM task_run").fetchone() == (10,)
    assert "View at" not in log.read_text()


def test_ctrl_c_with_the_embedded_server_still_records_the_stop(finished, tmp_path):
    mini.wish(finished, "steps", "600")
    (finished / "params.yaml").write_text((finished / "params.yaml").read_text().replace("steps: 3", "steps: 4"))
    log = tmp_path / "run.log"
    process = mini.start(finished, "run", log=log)
    mini.until(lambda: "step 2" in log.read_text(), "it trains")
    mini.interrupt(process)
    assert mini.ended(process) == 130, log.read_text()
    mini.until(lambda: not mini.survivors(finished), "no process is left", 10)
    with sqlite3.connect(finished / ".work/prefect/prefect.db") as database:
        assert database.execute("SELECT state_type FROM flow_run").fetchall() == [("CANCELLED",)]


def test_two_runs_at_once_are_refused(finished, server, tmp_path):
    mini.wish(finished, "steps", "600")
    (finished / "params.yaml").write_text((finished / "params.yaml").read_text().replace("steps: 3", "steps: 4"))
    log = tmp_path / "run.log"
    process = mini.start(finished, "run", log=log, **server)
    mini.until(lambda: "step 1" in log.read_text(), "it trains")
    second = mini.flows(finished, "run", **server)
    assert second.returncode == 1
    assert f"another run works in this project (process {process.pid}); wait for it or stop it" in second.stderr
    process.send_signal(signal.SIGTERM)
    mini.ended(process)


def test_two_first_runs_at_once_in_a_fresh_clone(fresh, tmp_path):
    """The second one starts no server: two would migrate the same new database, and one of them would fail."""
    logs = [tmp_path / "one.log", tmp_path / "other.log"]
    runs = [mini.start(fresh, "run", log=log) for log in logs]
    ends = {mini.ended(run): (run, log.read_text()) for run, log in zip(runs, logs, strict=True)}
    assert sorted(ends) == [0, 1], ends
    winner, refused = ends[0][0], ends[1][1]
    assert refused == (f"paleo run: another run works in this project (process {winner.pid}); wait for it or stop it\n")


def test_the_run_after_a_killed_one_waits_until_its_stages_have_saved_and_goes_on(finished, server, tmp_path):
    (finished / "params.yaml").write_text((finished / "params.yaml").read_text().replace("steps: 3", "steps: 4"))
    mini.wish(finished, "steps", "600")
    log = tmp_path / "run.log"
    process = mini.start(finished, "run", log=log, **server)
    mini.until(lambda: "step 3" in log.read_text(), "it trains")
    process.kill()
    process.wait()
    mini.unwish(finished, "steps")
    done = mini.flows(finished, "run", **server)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(" | step 1\n") == 1, "the training of the other species alone begins"
    assert not mini.survivors(finished)
