"""Rate limits per host: rates, budgets, connections, pauses; all of it survives a restart."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from functools import partial

import pytest

from pipeline.core.errors import HttpError, InputError, ServiceError
from pipeline.core.records import Request
from pipeline.io.web import client as module
from pipeline.io.web.client import WebClient
from tests.replay import hang_up, in_turn, status
from tests.web import PICTURE, SECONDS, collect_params, refusal


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 410, 418, 451])
def test_a_4xx_that_cannot_change_is_requested_once(server, open_web, clock, code):
    server.routes["a.example/no"] = status(code, b"because")
    web = open_web()
    assert refusal(web, "no").code == ("gone" if code in (404, 410) else "refused_by_server")
    with pytest.raises(HttpError, match=rf"a\.example responded {code} .*'because'") as error:
        web.fetch(Request("https://a.example/no"))
    assert error.value.status == code and server.count("a.example/no") == 2
    assert clock.now == pytest.approx(SECONDS, abs=0.001)


@pytest.mark.parametrize(
    "trouble", [status(408), status(429), status(500), status(502), status(503), status(520), hang_up]
)
def test_what_may_change_is_retried_after_a_pause(server, open_web, clock, trouble):
    server.routes["a.example/late"] = in_turn(trouble, trouble, PICTURE)
    assert open_web().download("https://a.example/late").content == PICTURE
    assert server.count("a.example/late") == 3 and clock.now > SECONDS + 0.001


def test_attempts_come_to_an_end(server, open_web):
    server.routes |= {"a.example/down": status(503), "a.example/dead": hang_up}
    web = open_web(attempts=2)
    assert refusal(web, "down").code == "server_failed" and server.count("a.example/down") == 2
    assert refusal(web, "dead").code == "no_answer" and server.count("a.example/dead") == 2
    with pytest.raises(HttpError) as error:
        web.fetch(Request("https://a.example/down"))
    assert error.value.status == 503


def test_backoff_has_full_jitter_and_doubles(server, open_web):
    server.routes["a.example/down"] = hang_up
    web = open_web(attempts=1)
    for attempt, longest in ((1, 1), (2, 2), (5, 16), (40, module.LONGEST_BACKOFF_SECONDS)):
        pauses = [web._backoff(attempt) for _ in range(300)]
        assert 0 <= min(pauses) < longest / 4 and longest * 3 / 4 < max(pauses) <= longest


@pytest.mark.parametrize("later", ["7", formatdate(SECONDS + 7, usegmt=True)])
def test_retry_after_is_obeyed_as_seconds_and_as_a_date_by_all_requests_to_this_host(server, open_web, clock, later):
    server.routes["a.example/busy"] = in_turn(status(429, retry_after=later), PICTURE)
    assert open_web().download("https://a.example/busy").content == PICTURE
    assert clock.now == pytest.approx(SECONDS + 7, abs=0.01)


@pytest.mark.parametrize("later", ["soon", "-5", "", "9" * 400, "Tue, 99 Foo 2026 00:00:00 GMT"])
def test_an_empty_or_malformed_retry_after_does_no_harm(server, open_web, clock, later):
    server.routes["a.example/busy"] = in_turn(status(503, retry_after=later), PICTURE)
    assert open_web().download("https://a.example/busy").content == PICTURE
    assert clock.now < SECONDS + 5


def test_a_host_that_demands_a_long_pause_is_not_requested_by_the_next_run_either(server, open_web, clock):
    server.routes["a.example/busy"] = status(429, retry_after="7200")
    found = refusal(open_web(), "busy")
    assert found.code == "budget_used_up" and "until 2027-01-15 10:00 UTC" in found.sentence
    assert refusal(open_web(), "x.jpg").code == "budget_used_up"
    assert len(server.seen) == 1 and clock.now < SECONDS + 1
    clock.now += 7201
    assert open_web().download("https://a.example/x.jpg").content == PICTURE


def test_waiting_for_a_slot_does_not_count_against_the_limits(server, tmp_path):
    slow = {"a.example": {"connections": 1, "requests_per_second": 4}}
    with WebClient(collect_params(slow, max_seconds=0.2), tmp_path, replay=server.url) as web:
        found = [web.download("https://a.example/x.jpg") for _ in range(3)]
    assert [len(one.content) for one in found] == [len(PICTURE)] * 3


def test_a_daily_budget_survives_restarts_and_starts_anew_the_next_day(server, open_web, clock):
    hosts = {"a.example": {"connections": 1, "requests_per_second": 1000, "requests_per_day": 3}}
    for left in (2, 1):
        web = open_web(hosts=hosts)
        assert web.download("https://a.example/x.jpg").content == PICTURE and web.budget_left("a.example") == left
    open_web(hosts=hosts).fetch(Request("https://a.example/q"))
    found = refusal(open_web(hosts=hosts), "x.jpg")
    assert found.code == "budget_used_up" and "3 requests to a.example" in found.sentence
    with pytest.raises(ServiceError, match="used up"):
        open_web(hosts=hosts).fetch(Request("https://a.example/other"))
    assert len(server.seen) == 3 and web.budget_left("a.example") == 0 and web.budget_left("b.example") is None
    clock.now += 86_400
    assert open_web(hosts=hosts).download("https://a.example/x.jpg").content == PICTURE


def test_a_host_has_no_more_connections_than_it_allows_also_of_two_processes(server, tmp_path):
    now, most, lock = 0, 0, threading.Lock()

    def response(exchange):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        exchange.head(200, ("Content-Length", "0"))

    server.routes["upload.example/x"] = response
    collect = collect_params({"upload.example": {"connections": 2, "requests_per_second": 10_000}})
    here = partial(WebClient, collect, tmp_path, replay=server.url)
    with here() as one, here() as other, ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(web.download, "https://upload.example/x") for web in (one, other) * 8]:
            assert future.result().content == b""
    assert most == 2 and len(server.seen) == 16


def test_requests_to_a_host_are_spaced_and_hosts_do_not_wait_for_each_other(server, open_web, clock):
    server.routes["b.example/x.jpg"] = PICTURE
    hosts = {"a.example": {"connections": 4, "requests_per_second": 0.5}}
    for web in (open_web(hosts=hosts), open_web(hosts=hosts)):  # as two processes
        web.download("https://a.example/x.jpg")
        web.download("https://b.example/x.jpg")
        web.download("https://a.example/x.jpg")
    assert clock.now == pytest.approx(SECONDS + 6, abs=0.05)


def test_connections_are_used_again(server, open_web):
    ports = set()
    server.routes["a.example/port"] = lambda exchange: (
        ports.add(exchange.client_address),
        exchange.head(200, ("Content-Length", "0")),
    )
    web = open_web()
    for _ in range(20):
        web.download("https://a.example/port")
    assert len(ports) == 1


def test_many_hosts_leave_few_connections_open(server, open_web):
    web = open_web()
    server.routes |= {f"h{n}.example/x": PICTURE for n in range(60)}
    before = threading.active_count()
    assert all(web.download(f"https://h{n}.example/x").content == PICTURE for n in range(60))
    deadline = time.monotonic() + 5  # the server has a thread for each connection that is open
    while threading.active_count() - before > 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() - before <= 20


def test_a_cache_folder_that_cannot_be_used_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/manners.sqlite").write_bytes(b"not a database " * 100)
    for name in ("file", "damaged"):
        with pytest.raises(InputError, match=rf"the cache folder .*{name} cannot be used \(.*free space.*delete it"):
            WebClient(collect_params(), tmp_path / name)
