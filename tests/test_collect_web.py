"""collect against a real server on loopback: sessions that are interrupted, repeated, refused and contradicted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from pipeline import collect as stage
from pipeline.core import params as params_module
from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_bytes, digest_tree
from pipeline.core.paths import Paths
from pipeline.io.web.client import REPLAY
from tests.pictures import encoded, scene
from tests.project import ROOT, edit_params, environment, restore_sigint
from tests.replay import Reply, drip, replay, status

HOST = "pictures.example"
OPENVERSE = "api.openverse.org/v1/images/"


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    tiny = str(ROOT / "pipeline/assets/tiny")
    edit_params(tmp_path, {"base": {"path": tiny, "clip": tiny}})
    return tmp_path


@pytest.fixture
def server(monkeypatch):
    with replay({f"{HOST}/{number}.jpg": encoded(scene(number), "JPEG") for number in range(12)}) as running:
        monkeypatch.setenv(REPLAY, running.url)
        yield running


def _set(project: Path, *sources: dict, contact: str = "curator@example.org", **collect) -> Paths:
    hosts = {"default": {"connections": 4, "requests_per_second": 1000}} | collect.pop("hosts", {})
    species = {"name": "Raphus cucullatus", "class_noun": "bird", "sources": list(sources)}
    edit_params(project, {"species": {"dodo": species}})
    changes = {"contact": contact, "download": {"attempts": 1}, **collect}
    used = params_module.load(project / "params.yaml").collect.hosts
    edit_params(project, {"collect": {**changes, "hosts": {**dict.fromkeys(used, hosts["default"]), **hosts}}})
    return Paths(project, "dodo")


def _collect(paths: Paths):
    report = stage.collect(params_module.load(paths.params), paths)
    return report, pd.read_parquet(paths.raw / "manifest.parquet").set_index("source_id")


def _list(project: Path, *numbers: int, name: str = "list.csv", licence: str = "CC0-1.0") -> dict:
    lines = [f"https://{HOST}/{number}.jpg,{licence},{number}" for number in numbers]
    (project / name).write_text("\n".join(["url,licence,id", *lines]) + "\n")
    return {"kind": "addresses", "path": name}


def _found(*numbers: int, licence: str = "by", **more) -> dict:
    """A response of Openverse in the recorded shape."""
    results = [
        {
            "id": f"ov-{number}",
            "title": f"Picture {number}",
            "creator": "Ada",
            "url": f"https://{HOST}/{number}.jpg",
            "creator_url": "https://example.org/ada",
            "foreign_landing_url": f"https://example.org/{number}",
            "license": licence,
            "license_version": "4.0",
            "license_url": f"https://creativecommons.org/licenses/{licence}/4.0/",
            "source": "flickr",
            "category": None,
            "tags": [],
        }
        for number in numbers
    ]
    return {"result_count": len(results), "page_count": 1, "page_size": 20, "page": 1, "results": results, **more}


QUERY = {"kind": "openverse", "query": "dodo"}


def test_pictures_of_the_web_are_stored_with_evidence_and_credits(project, server):
    server.routes[OPENVERSE] = _found(1, 2)
    report, rows = _collect(paths := _set(project, QUERY))
    assert rows["kept"].all() and list(rows["licence"]) == ["CC-BY-4.0", "CC-BY-4.0"]
    assert rows.loc["ov-1", "sha256"] == digest_bytes(server.routes[f"{HOST}/1.jpg"])
    evidence = json.loads((paths.raw / "evidence" / f"{rows.loc['ov-1', 'evidence']}.json").read_bytes())
    assert evidence == server.routes[OPENVERSE]
    credits = (paths.raw / "CREDITS.md").read_text()
    assert "[Picture 1](<https://example.org/1>), [Ada](<https://example.org/ada>)" in credits
    assert report.lines[0] == "collect dodo: 2 of 2 files kept"


def test_a_second_session_downloads_only_what_is_new_and_writes_the_same_bytes_when_nothing_is(project, server):
    server.routes[OPENVERSE] = _found(1, 2)
    _collect(paths := _set(project, QUERY))
    before = digest_tree(paths.raw)
    server.routes[OPENVERSE] = _found(2, 1, result_count=999)  # another order, another count: the same pictures
    _collect(paths)
    assert digest_tree(paths.raw) == before and server.count(f"{HOST}/1.jpg") == 1
    server.routes[OPENVERSE] = _found(1, 2, 3)
    _, rows = _collect(paths)
    assert len(rows) == 3 and [server.count(f"{HOST}/{number}.jpg") for number in (1, 2, 3)] == [1, 1, 1]


def test_nothing_is_fetched_again_on_a_clone_that_has_the_pictures_but_no_work_folder(project, server):
    server.routes[OPENVERSE] = _found(1, 2)
    _collect(paths := _set(project, QUERY))
    before = digest_tree(paths.raw)
    subprocess.run(["rm", "-rf", str(paths.work)], check=True)
    server.routes[OPENVERSE] = _found(1, 2, result_count=999)
    _collect(paths)
    assert digest_tree(paths.raw) == before and server.count(f"{HOST}/1.jpg") == 1


def test_what_vanished_upstream_is_reported_and_stays_unless_drop_vanished(project, server):
    server.routes[OPENVERSE] = _found(1, 2)
    _collect(paths := _set(project, QUERY))
    before = digest_tree(paths.raw)
    server.routes[OPENVERSE] = _found(2)
    report, rows = _collect(paths)
    assert digest_tree(paths.raw) == before
    assert "no longer offered: ov-1; they stay in the data set" in report.lines
    _set(project, QUERY, drop_vanished=True)
    report, rows = _collect(paths)
    assert rows.loc["ov-1", "reason_code"] == "vanished" and not rows.loc["ov-1", "path"] and rows.loc["ov-2", "kept"]


def test_an_address_taken_out_of_a_list_leaves_the_data_set(project, server):
    _collect(paths := _set(project, _list(project, 1, 2)))
    _, rows = _collect(_set(project, _list(project, 2)))
    assert list(rows.index) == ["2"] and len(list((paths.raw / "images").iterdir())) == 1


def test_a_narrower_policy_removes_what_it_no_longer_allows(project, server):
    server.routes[OPENVERSE] = _found(1)
    _collect(paths := _set(project, QUERY, _list(project, 2)))
    _set(project, QUERY, _list(project, 2), licences=["CC0-1.0"])
    _, rows = _collect(paths)
    assert rows.loc["ov-1", "reason_code"] == "licence_refused" and rows.loc["2", "kept"]


def test_a_source_that_fails_stops_no_other_and_loses_nothing(project, server):
    server.routes[OPENVERSE] = _found(1)
    _collect(_set(project, QUERY, _list(project, 2)))
    server.routes[OPENVERSE] = "<html><h1>Bad gateway</h1></html>"
    report, rows = _collect(_set(project, QUERY, _list(project, 2, 3)))
    assert rows["kept"].all() and set(rows.index) == {"ov-1", "2", "3"}
    skipped = [line for line in report.lines if line.startswith("skipped openverse:dodo: ")]
    assert len(skipped) == 1 and "api.openverse.org" in skipped[0]
    assert not any("no longer offered" in line for line in report.lines)


def test_when_every_source_fails_the_error_has_the_reasons(project, server):
    server.routes[OPENVERSE] = status(503)
    with pytest.raises(
        InputError, match="gave no picture that can be used: nothing at all; openverse:dodo was skipped: "
    ):
        _collect(_set(project, QUERY))


def test_public_apis_are_not_requested_without_a_contact(project, server):
    server.routes[OPENVERSE] = _found(1)
    report, _ = _collect(_set(project, QUERY, _list(project, 2), contact=""))
    assert any("collect.contact" in line for line in report.lines) and not server.count(OPENVERSE)


def test_two_sources_that_contradict_each_other_on_one_picture_give_neither(project, server):
    server.routes[OPENVERSE] = _found(1, 3)
    _, rows = _collect(_set(project, QUERY, _list(project, 1, licence="CC-BY-NC-4.0"), _list(project, 4, name="b.csv")))
    assert rows.loc["ov-1", "reason_code"] == "sources_disagree"
    assert "openverse:dodo says CC-BY-4.0, addresses:list.csv says CC-BY-NC-4.0" in rows.loc["ov-1", "reason"]
    assert rows.loc["ov-3", "kept"] and not server.count(f"{HOST}/1.jpg")


def test_the_same_bytes_under_two_licences_at_two_places_are_taken_from_neither(project, server):
    server.routes[f"{HOST}/9.jpg"] = server.routes[f"{HOST}/1.jpg"]
    server.routes[OPENVERSE] = _found(1, 2)
    _, rows = _collect(_set(project, QUERY, _list(project, 9)))
    assert list(rows["reason_code"]) == ["sources_disagree", "sources_disagree", ""]


def test_a_picture_that_cannot_be_had_is_a_row_with_the_reason(project, server):
    server.routes |= {
        f"{HOST}/20.jpg": status(404),
        f"{HOST}/21.jpg": "<html>no</html>",
        f"{HOST}/22.jpg": Reply(encoded(scene(1)), headers=(("X-Robots-Tag", "noai"),)),
    }
    _, rows = _collect(_set(project, _list(project, 1, 20, 21, 22)))
    assert list(rows["reason_code"]) == ["", "gone", "not_an_image", "noai"]
    assert (rows["reason"].str.len() > 10).tolist() == [False, True, True, True]


def test_a_picture_that_cannot_be_fetched_any_more_stays(project, server):
    server.routes[OPENVERSE] = _found(1, 2)
    _collect(paths := _set(project, QUERY))
    subprocess.run(["rm", "-rf", str(paths.work)], check=True)
    for path in paths.raw.glob("images/*"):
        path.write_bytes(b"damaged")  # so that it would have to be fetched
    server.routes[f"{HOST}/2.jpg"] = status(404)
    _, rows = _collect(paths)
    assert rows.loc["ov-1", "kept"] and rows.loc["ov-2", "reason_code"] == "lost"


def test_an_exhausted_budget_waits_for_the_next_run(project, server):
    hosts = {HOST: {"connections": 1, "requests_per_second": 1000, "requests_per_day": 2}}
    report, rows = _collect(paths := _set(project, _list(project, 1, 2, 3), hosts=hosts))
    assert sorted(rows["reason_code"]) == ["", "", "budget_used_up"]
    assert report.lines[-1].startswith(f"waiting: 1 picture: today's 2 requests to {HOST} are used up")
    hosts[HOST]["requests_per_day"] = 3
    _, rows = _collect(_set(project, _list(project, 1, 2, 3), hosts=hosts))
    assert rows["kept"].all() and len([seen for seen in server.seen if seen.host == HOST]) == 3


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_continues_and_downloads_nothing_twice(project, server, kill):
    hosts = {HOST: {"connections": 2, "requests_per_second": 12}}
    server.routes[OPENVERSE] = _found(*range(12))
    paths = _set(project, QUERY, hosts=hosts)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "collect", "dodo"],
        cwd=project,
        env=environment(ROOT),
        stderr=subprocess.DEVNULL,
    )
    while sum(seen.host == HOST for seen in server.seen) < 4:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, kill)
    process.wait()
    assert not paths.raw.exists()
    _, rows = _collect(_set(project, QUERY))
    assert rows["kept"].all() and len(rows) == 12
    counts = [server.count(f"{HOST}/{number}.jpg") for number in range(12)]
    assert server.count(OPENVERSE) == 1 and sum(counts) <= 12 + 2  # two were under way
    assert not [path for path in paths.raw.parent.iterdir() if path.name.startswith(".building")]


def test_ctrl_c_waits_for_no_slow_server(project, server):
    server.routes |= {f"{HOST}/{number}.jpg": drip(b"x" * 100_000, 0.05) for number in range(3)}
    paths = _set(project, _list(project, 1, 2), download={"attempts": 1, "min_bytes_per_second": 1})
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "collect", "dodo"],
        cwd=project,
        env=environment(ROOT),
        text=True,
        stderr=subprocess.PIPE,
        preexec_fn=restore_sigint,
    )
    while not server.count(f"{HOST}/1.jpg"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)  # the servers would go on for more than an hour
    assert (process.returncode, error) == (130, "paleo collect: stopped\n") and not list(paths.raw.parent.iterdir())


def test_a_registered_client_of_openverse_sends_its_token_which_is_kept_nowhere(project, server, monkeypatch):
    monkeypatch.setenv("OPENVERSE_CLIENT_ID", "someone")
    monkeypatch.setenv("OPENVERSE_CLIENT_SECRET", "hush-hush")
    server.routes |= {OPENVERSE: _found(1), "api.openverse.org/v1/auth_tokens/token/": {"access_token": "t0ken"}}
    _, rows = _collect(_set(project, QUERY))
    request = next(seen for seen in server.seen if seen.place == OPENVERSE)
    assert (
        rows["kept"].all()
        and request.headers["authorization"] == "Bearer t0ken"
        and request.query["page_size"] == "100"
    )
    kept = [path for path in project.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"t0ken" in path.read_bytes() or b"hush-hush" in path.read_bytes()]


def test_a_source_that_offers_nothing_is_named(project, server):
    server.routes[OPENVERSE] = _found()
    report, _ = _collect(_set(project, QUERY, _list(project, 1)))
    assert "openverse:dodo offered nothing; check its entry in params.yaml" in report.lines


def test_waiting_pictures_stay_waiting_while_their_source_fails(project, server):
    hosts = {HOST: {"connections": 1, "requests_per_second": 1000, "requests_per_day": 1}}
    server.routes[OPENVERSE] = _found(1, 2)
    _collect(_set(project, QUERY, hosts=hosts))
    (project / ".work/collect/dodo/look.json").unlink()  # another session: the API is requested again
    subprocess.run(["rm", "-rf", str(project / ".work/http/answers")], check=True)
    server.routes[OPENVERSE] = status(503)
    report, rows = _collect(_set(project, QUERY, hosts=hosts))
    assert sorted(rows["reason_code"]) == ["", "budget_used_up"]
    assert report.lines[-1] == "waiting: 1 picture: they are of an earlier run; run this again."
