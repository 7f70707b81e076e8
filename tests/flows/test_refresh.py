"""Which species are due, and what a refresh leaves behind in git and DVC."""

from __future__ import annotations

import json
import time

import pytest

from flows import graph, refresh, versioning
from flows.errors import FlowError
from tests.flows import mini_project as mini

PARAMS = {
    "species": {"ants": {"refresh_days": 1}, "bees": {}},
    "collect": {"refresh_days": 7},
    "versioning": dict.fromkeys(versioning.SWITCHES, False),
}
DAY = 86400


@pytest.fixture
def here(finished, monkeypatch):
    monkeypatch.chdir(finished)
    return finished


def crawled(folder, species: str, days_ago: float) -> None:
    (folder / ".work/refresh").mkdir(parents=True, exist_ok=True)
    note = {"looked": time.time() - days_ago * DAY}
    (folder / f".work/refresh/{species}.json").write_text(json.dumps(note))


def due(now: bool = False, stale: bool = False) -> list[str]:
    return [stage.species for stage in refresh.due(graph.read(), ["ants", "bees"], PARAMS, now=now, stale=stale)]


def test_species_are_due_whose_crawl_is_too_old_each_by_its_own_days(here):
    crawled(here, "ants", 2)
    crawled(here, "bees", 2)
    assert due() == ["ants"]
    assert due(now=True) == ["ants", "bees"]
    crawled(here, "bees", 8)
    assert due() == ["ants", "bees"]


def test_a_clone_with_results_but_without_a_recorded_crawl_is_not_due(here):
    mini.subprocess.run(["rm", "-rf", ".work/refresh"], check=True)
    assert due() == [] and (here / ".work/refresh/ants.json").is_file()


def test_what_never_ran_is_left_to_reproduce_unless_it_is_to_be_versioned(fresh, monkeypatch):
    monkeypatch.chdir(fresh)
    assert due(now=True) == [] and due(stale=True) == ["ants", "bees"]


def test_switches_of_the_run_go_over_those_of_params():
    assert versioning.switches(PARAMS, {"commit": True})["commit"]
    with pytest.raises(FlowError, match="no switch 'comit'; did you mean 'commit'"):
        versioning.switches(PARAMS, {"comit": True})
    with pytest.raises(FlowError, match="tag needs versioning.commit"):
        versioning.switches(PARAMS, {"tag": True})


@pytest.fixture
def remotes(finished, tmp_path):
    """A project with a git and a DVC remote, and every switch on."""
    git, data = tmp_path / "remote.git", tmp_path / "remote.dvc"
    mini.git(tmp_path, "init", "-q", "--bare", str(git))
    mini.git(finished, "remote", "add", "origin", str(git))
    mini.dvc(finished, "remote", "add", "-q", "-d", "store", str(data))
    text = (finished / "params.yaml").read_text()
    (finished / "params.yaml").write_text(text.replace("false", "true"))
    mini.git(finished, "add", "-A")
    mini.git(finished, "commit", "-q", "-m", "with results and remotes")
    return finished, git, data


def refreshed(folder, server) -> str:
    done = mini.flows(folder, "run", "--refresh", **server)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_only_what_changed_gets_a_version_and_a_crash_between_the_steps_is_mended(remotes, server):
    folder, git, data = remotes
    refreshed(folder, server)
    assert mini.git(git, "tag").split() == ["ants/v1", "bees/v1"]
    assert list(data.rglob("*.dir"))
    head = mini.git(folder, "rev-parse", "HEAD")

    refreshed(folder, server)  # a crawl that finds nothing new
    assert mini.git(folder, "rev-parse", "HEAD") == head == mini.git(git, "rev-parse", "main")
    assert mini.git(folder, "tag").split() == ["ants/v1", "bees/v1"]
    assert mini.git(folder, "status", "--porcelain") == ""

    mini.wish(folder, "new-picture", "a new one")
    (folder / "notes.txt").write_text("mine")
    mini.git(folder, "add", "notes.txt")
    mini.git(folder, "tag", "-d", "bees/v1")  # as if the earlier run had been killed before this tag
    refreshed(folder, server)
    assert mini.git(git, "tag").split() == ["ants/v1", "ants/v2", "bees/v1"]
    assert mini.git(folder, "status", "--porcelain") == "A  notes.txt"  # what a person has staged is not committed
    assert "notes.txt" not in mini.git(folder, "log", "--name-only", "--format=", f"{head}..HEAD")
    changed = mini.git(folder, "show", "--name-only", "--format=", "ants/v2^{commit}").split()
    assert changed == ["dvc.lock"]
    assert mini.dvc(folder, "status") == "Data and pipelines are up to date."


def test_a_source_that_fails_leaves_the_earlier_pictures_and_fails_the_run(finished, server):
    mini.wish(finished, "broken-source")
    done = mini.flows(finished, "run", "--refresh", **server)
    assert done.returncode == 1
    assert "collect@ants failed: the source does not answer; try again later" in done.stderr
    assert "the earlier pictures stay in use" in done.stderr
    assert json.loads((finished / "data/raw/ants/pictures.json").read_text()) == [0, 1, 2]
    assert mini.dvc(finished, "status") == "Data and pipelines are up to date."


def on(*switches: str) -> dict[str, bool]:
    return {name: name in switches for name in versioning.SWITCHES}


def test_switches_that_can_work_are_accepted(remotes, monkeypatch):
    monkeypatch.chdir(remotes[0])
    versioning.check(on(*versioning.SWITCHES))
    versioning.check(on())


def test_a_dvc_push_without_a_default_remote_is_refused(here, tmp_path):
    with pytest.raises(FlowError, match="dvc_push cannot work: DVC has no default remote; add one .`dvc remote add"):
        versioning.check(on("dvc_push"))
    mini.dvc(here, "remote", "add", "-q", "store", str(tmp_path / "store"))
    with pytest.raises(FlowError, match="no default remote"):
        versioning.check(on("dvc_push"))


@pytest.mark.parametrize(
    ("name", "words"),
    [("store", "gs is supported, but requires 'dvc-gs' to be installed"), ("other", "remote 'other' doesn't exist")],
)
def test_a_dvc_remote_that_cannot_be_used_is_refused(here, name, words):
    (here / ".dvc/config").write_text(f"[core]\n    remote = {name}\n['remote \"store\"']\n    url = gs://bucket/x\n")
    with pytest.raises(FlowError, match=f"versioning.dvc_push cannot work: .*{words}"):
        versioning.check(on("dvc_push"))


def test_a_git_push_without_a_remote_or_on_no_branch_is_refused(here):
    with pytest.raises(FlowError, match="which remote\\? there are none; set one for branch main, or switch"):
        versioning.check(on("git_push"))
    mini.git(here, "checkout", "-q", "--detach")
    with pytest.raises(FlowError, match="HEAD is on no branch; check one out, or switch versioning.git_push off"):
        versioning.check(on("git_push"))


def test_versions_without_git_or_an_identity_are_refused(here, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    mini.git(here, "config", "--unset", "user.name")
    mini.git(here, "config", "--unset", "user.email")
    mini.git(here, "config", "user.useConfigOnly", "true")
    with pytest.raises(FlowError, match="commit and versioning.tag cannot work: git has no identity .*, or switch"):
        versioning.check(on("commit", "tag"))
    (here / ".git").rename(tmp_path / "gone")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(here.parent))
    with pytest.raises(FlowError, match="versioning.commit cannot work: this folder is no git repository; run"):
        versioning.check(on("commit"))


@pytest.mark.parametrize("command", ["run", "up"])
def test_a_switch_that_cannot_work_ends_the_command_before_anything_runs(fresh, command):
    text = (fresh / "params.yaml").read_text()
    (fresh / "params.yaml").write_text(text.replace("dvc_push: false", "dvc_push: true"))
    done = mini.flows(fresh, command)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith(f"paleo {command}: versioning.dvc_push cannot work: DVC has no default remote; ")
    assert mini.ran(fresh) == [] and not (fresh / ".work/prefect").exists()


def test_a_deployment_whose_switch_cannot_work_fails_before_anything_runs(fresh, server):
    run = "pipeline(versioning={'dvc_push': True}, return_state=True)"
    command = [mini.sys.executable, "-c", f"from flows.pipeline import pipeline; print({run}.message)"]
    env = mini.environment(**server)
    done = mini.subprocess.run(command, cwd=fresh, env=env, capture_output=True, text=True)
    assert "versioning.dvc_push cannot work: DVC has no default remote" in done.stdout, done.stderr
    assert mini.ran(fresh) == []


def test_git_without_a_remote_is_a_sentence(here):
    with pytest.raises(FlowError, match="which remote\\? there are none; set one for branch main"):
        versioning.push({"dvc_push": False, "git_push": True}, [], print)
