"""`paleo up`: see also its fixture, which checks how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import mlflow
import pytest

from flows import prefect_server, servers
from tests.flows import mini_project as mini


@pytest.fixture(scope="module")
def addresses(up) -> dict[str, str]:
    return json.loads((up / ".work/servers.json").read_text())


def test_everything_answers_and_its_address_is_printed(up, addresses):
    output = up.with_suffix(".log").read_text()
    (up / "site").mkdir(exist_ok=True)
    (up / "site/index.html").write_text("hello")
    assert httpx.get(addresses["gallery"]).text == "hello"
    assert httpx.get(f"{addresses['MLFLOW_TRACKING_URI']}/health").text == "OK"
    assert f"{addresses['MLFLOW_TRACKING_URI']}/#/models?workflowType=machine_learning" in output
    page = httpx.get(addresses["PREFECT_API_URL"].removesuffix("/api"), follow_redirects=True)
    assert page.status_code == 200 and "html" in page.headers["content-type"]


def test_mlflow_keeps_artifacts_in_the_project(up, addresses, tmp_path):
    client = mlflow.MlflowClient(addresses["MLFLOW_TRACKING_URI"])
    run = client.create_run(client.create_experiment("served"))
    client.log_text(run.info.run_id, "kept", "notes/note.txt")
    [stored] = (up / "mlartifacts").rglob("note.txt")
    assert stored.read_text() == "kept"
    assert Path(client.download_artifacts(run.info.run_id, "notes/note.txt", str(tmp_path))).read_text() == "kept"


def test_what_is_registered_lies_beside_the_site_and_is_served_there(up, addresses):
    """`..` of a page of the site leads there, from disk and over http; nothing else of the project is served."""
    gallery, pages = (
        addresses["gallery"],
        ("releases/ants.html", "reports/validation/ants/index.html", "site/ants/x.html"),
    )
    for name in pages:
        (up / name).parent.mkdir(parents=True, exist_ok=True)
        (up / name).write_text(name)
    assert [httpx.get(f"{gallery}/ants/../../{name}").text for name in pages] == list(pages)
    assert httpx.get(f"{gallery}/params.yaml").status_code == 404
    assert httpx.get(f"{gallery}/reports/validation/%2e%2e/%2e%2e/params.yaml").status_code == 404
    assert json.loads((up / ".work/addresses.json").read_text())["gallery"] == gallery


def deployment(api: httpx.Client) -> dict:
    found = mini.until(lambda: api.post("/deployments/filter", json={}).json(), "a deployment")
    return found[0]


def test_scheduled_runs_are_made(addresses):
    """They never were with SQLAlchemy 2.1, and without an error."""
    api = mini.prefect(addresses)
    identity = deployment(api)["id"]
    query = {"flow_runs": {"deployment_id": {"any_": [identity]}, "state": {"type": {"any_": ["SCHEDULED"]}}}}
    assert mini.until(lambda: api.post("/flow_runs/filter", json=query).json(), "a scheduled run", 10)


def start_run(api: httpx.Client, **parameters) -> str:
    made = api.post(f"/deployments/{deployment(api)['id']}/create_flow_run", json={"parameters": parameters})
    assert made.status_code == 201, made.text
    return made.json()["id"]


def state(api: httpx.Client, run_id: str) -> str:
    return api.get(f"/flow_runs/{run_id}").json()["state_type"]


def test_a_run_of_the_deployment_is_stopped_from_the_pages_and_saves(up, addresses):
    api = mini.prefect(addresses)
    mini.wish(up, "steps", "600")
    run_id = start_run(api, species=["ants"])
    mini.until(lambda: list((up / ".work/logs").glob("2*/train@ants.log")), "it trains")
    log = next((up / ".work/logs").glob("2*/train@ants.log"))
    mini.until(lambda: "step 2" in log.read_text(), "it trains")
    api.post(f"/flow_runs/{run_id}/set_state", json={"state": {"type": "CANCELLING"}}).raise_for_status()
    mini.until(lambda: state(api, run_id) == "CANCELLED", "it is cancelled")
    assert mini.until(lambda: (up / ".work/train-ants.json").is_file(), "it has saved", 10)
    mini.until(lambda: not [name for name in mini.survivors(up) if "train" in name], "no stage is left", 10)
    mini.unwish(up, "steps")


def test_scheduled_runs_make_a_version_of_what_changed_and_none_of_what_did_not(up, addresses):
    api, head = mini.prefect(addresses), mini.git(up, "rev-list", "--max-parents=0", "HEAD")
    for _ in range(2):
        run_id = start_run(api, species=["ants"])
        mini.until(lambda: state(api, run_id) == "COMPLETED", "it is finished")  # noqa: B023
    assert mini.git(up, "tag").split() == ["ants/v1"]
    assert mini.git(up, "log", "--format=%s", f"{head}..HEAD").splitlines() == [
        "Results of the pipeline",
        "Data of ants",
    ]
    trailer = f"Prefect-Run: {addresses['PREFECT_API_URL'].removesuffix('/api')}/runs/flow-run/"
    assert trailer in mini.git(up, "log", "-1", "--format=%B") and trailer in mini.git(up, "tag", "-n9")
    changed = mini.git(up, "log", "--format=", "--name-only", f"{head}..HEAD").split()
    assert set(changed) == {"dvc.lock", "reports/evaluation/ants/metrics.json"}
    assert "versions  dvc.lock is committed when it changed, and tagged" in up.with_suffix(".log").read_text()


def test_a_schedule_makes_versions_where_git_can_and_reports_why_not(fresh, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(fresh)
    assert servers._versioning("0 3 * * 1") == (("commit", "tag"), "")
    assert servers._versioning(None) == ((), "")
    (fresh / ".git").rename(tmp_path / "gone")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(fresh.parent))
    why = "this folder is no git repository; run `git init` and commit it"
    assert servers._versioning("0 3 * * 1") == ((), why)
    services = [servers._prefect(1, "paleo:secret"), servers._mlflow(2), servers._gallery(3)]
    servers._print_addresses(services, "paleo:secret", "0 3 * * 1", why)
    assert f"versions  none: {why}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variables", "command"),
    [
        ((), "paleo up"),
        (("CRON=0 3 * * 1",), 'paleo up --cron "0 3 * * 1"'),
        (("ARGS=--gallery-port 8081",), "paleo up --gallery-port 8081"),
    ],
)
def test_make_up_passes_arguments(variables, command):
    # without what `make test` hands down: as its child, make names the folders that it enters and leaves
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    words = ["make", "-n", "up", *variables]
    done = subprocess.run(words, cwd=mini.ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == f".venv/bin/{command}".split()


def test_paleo_run_in_another_terminal_finds_the_servers(up, addresses):
    done = mini.flows(up, "run", "ants")
    assert done.returncode == 0, done.stderr
    assert f"{addresses['PREFECT_API_URL'].removesuffix('/api')}/runs" in done.stdout
    assert f"{addresses['MLFLOW_TRACKING_URI']}/#/models" in done.stdout


def test_a_second_one_is_refused(up):
    done = mini.flows(up, "up")
    assert done.returncode == 1
    assert "`paleo up` runs already in this project (process " in done.stderr


def test_a_port_in_use_is_named_with_its_option(fresh):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = mini.flows(fresh, "up", "--mlflow-port", str(port), "--prefect-port", str(prefect_server.free_port()))
    assert done.returncode == 1
    assert f"port {port} for mlflow is in use; choose another with --mlflow-port PORT" in done.stderr


def test_a_bad_cron_is_refused_before_anything_starts(fresh):
    done = mini.flows(fresh, "up", "--cron", "every monday")
    assert done.returncode == 1
    assert "--cron 'every monday' is no cron expression; five fields" in done.stderr


def test_a_service_that_exits_is_named_with_its_last_lines_and_the_others_end(fresh, tmp_path):
    log = tmp_path / "up.log"
    ports = [f"--{name}-port={prefect_server.free_port()}" for name in ("prefect", "mlflow", "gallery")]
    (fresh / "mlflow.db").write_text("no database")
    process = mini.start(fresh, "up", *ports, log=log)
    assert mini.ended(process) == 1
    assert "paleo up: mlflow exited by itself (exit code 1)" in log.read_text()
    assert not mini.survivors(fresh)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stop_while_it_starts_leaves_no_process(fresh, tmp_path, number):
    ports = [f"--{name}-port={prefect_server.free_port()}" for name in ("prefect", "mlflow", "gallery")]
    process = mini.start(fresh, "up", *ports, log=tmp_path / "up.log")
    mini.until(lambda: (fresh / ".work/logs/gallery.log").exists(), "children")
    process.send_signal(number)
    assert mini.ended(process) == (130 if number == signal.SIGTERM else -signal.SIGKILL)
    mini.until(lambda: not mini.survivors(fresh), "no process is left", 30)


def test_the_deployment_for_a_work_pool_is_taken(up, addresses):
    """The commands that infra/prefect.yaml names; with FastAPI 0.151 the second one ended in a traceback."""
    variables = {name: addresses[name] for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")}
    env = mini.environment(**variables, PALEO_HOME=str(mini.ROOT))
    for words in (
        "work-pool create paleo --type process",
        "--no-prompt deploy --all --prefect-file infra/prefect.yaml",
    ):
        command = [sys.executable, "-m", "prefect", *words.split()]
        done = subprocess.run(command, cwd=mini.ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    api = mini.prefect(addresses)
    found = api.post("/deployments/filter", json={}).json()
    weekly = next(each for each in found if each["name"] == "weekly")
    assert weekly["parameters"]["versioning"] == dict.fromkeys(("commit", "tag", "dvc_push", "git_push"), True)
    api.delete(f"/deployments/{weekly['id']}").raise_for_status()
