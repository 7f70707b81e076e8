"""Response cache: evidence, crawl sessions, conditional requests, and what comes instead of JSON."""

import gzip
import json
import resource

import pytest

from pipeline.core.errors import HttpError, InputError, ServiceError
from pipeline.core.lineage import digest_bytes
from pipeline.core.records import Request
from tests.replay import Reply, in_turn, recorded, redirect
from tests.web import SECONDS


@pytest.mark.parametrize("contact", ["", "  "])
def test_no_public_api_is_requested_without_a_contact(server, open_web, contact):
    with pytest.raises(ServiceError, match=r"collect\.contact in params\.yaml is empty.*a\.example"):
        open_web(contact=contact).fetch(Request("https://a.example/q"))
    assert server.seen == []


def test_a_response_is_parsed_and_its_bytes_are_evidence(server, open_web):
    path = recorded("gbif/v1_species_suggest_q_Puma_concolor_limit_100.json")
    server.routes["api.gbif.org/v1/species/suggest?q=Puma concolor"] = path
    web = open_web()
    response = web.fetch(Request("https://api.gbif.org/v1/species/suggest", (("q", "Puma concolor"), ("limit", "100"))))
    assert response.value == json.loads(path.read_bytes()) and web.evidence(response.sha256) == path.read_bytes()
    assert response.sha256 == digest_bytes(path.read_bytes())
    assert server.seen[0].query == {"q": "Puma concolor", "limit": "100"}


def test_a_key_may_stand_in_a_query_several_times_and_beside_one_in_the_address(server, open_web):
    seen = []
    server.routes["a.example/q"] = lambda exchange: (
        seen.append(exchange.path),
        exchange.head(404, ("Content-Length", "0")),
    )
    with pytest.raises(HttpError):
        open_web().fetch(Request("https://a.example/q?v=2", (("key", "1"), ("key", "2"), ("title", "A&B|C"))))
    assert seen == ["/a.example/q?v=2&key=1&key=2&title=A%26B%7CC"]


def test_in_one_session_a_request_is_sent_once_also_by_a_run_that_continues(server, open_web):
    for web in (open_web(), open_web()):
        assert web.fetch(Request("https://a.example/q", (("a", "1"), ("b", "2")))).value == {"results": [1, 2]}
        assert web.fetch(Request("https://a.example/q", (("b", "2"), ("a", "1")))).value == {"results": [1, 2]}
    assert len(server.seen) == 1
    web.fetch(Request("https://a.example/q", (("a", "1"), ("b", "3"))))
    web.fetch(Request("https://a.example/q", (("a", "1"), ("b", "2")), accept="text/json"))
    web.fetch(Request("https://a.example/q", (("a", "1"), ("b", "2")), fresh=True))
    assert len(server.seen) == 4


def test_the_next_session_requests_again_and_a_304_confirms_the_cached_body(server, open_web):
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    first = Reply(b'{"n": 1}', headers=(("ETag", '"v1"'), ("Last-Modified", date)))
    server.routes["a.example/e"] = in_turn(first, Reply(b"", 304), Reply(b'{"n": 2}'))
    request = Request("https://a.example/e")
    responses = [open_web(session).fetch(request) for session in ("session-1", "session-2", "session-2", "session-3")]
    assert [response.value["n"] for response in responses] == [1, 1, 1, 2] and responses[0].sha256 == responses[
        1
    ].sha256
    assert "if-none-match" not in server.seen[0].headers and len(server.seen) == 3
    assert [server.seen[n].headers["if-none-match"] for n in (1, 2)] == ['"v1"', '"v1"']
    assert server.seen[1].headers["if-modified-since"] == date


def test_a_response_whose_body_was_lost_or_damaged_is_requested_again(server, open_web, tmp_path):
    sha256 = open_web().fetch(Request("https://a.example/q")).sha256
    (stored,) = (tmp_path / "http").rglob(f"{sha256}*")
    for damaged in (b"", stored.read_bytes()[:-9], gzip.compress(b"{}")):
        stored.write_bytes(damaged)
        assert open_web().fetch(Request("https://a.example/q")).value == {"results": [1, 2]}
    assert len(server.seen) == 4
    stored.unlink()
    with pytest.raises(InputError, match="is missing"):
        open_web().evidence(sha256)


def test_an_error_with_status_200_is_returned_and_not_remembered(server, open_web):
    server.routes["a.example/w"] = in_turn({"error": {"code": "badvalue"}}, {"query": {}})
    web = open_web()
    assert [web.fetch(Request("https://a.example/w")).value for _ in range(2)] == [
        {"error": {"code": "badvalue"}},
        {"query": {}},
    ]


@pytest.mark.parametrize(
    ("code", "header", "waited"), [("maxlag", "2", 5), ("ratelimited", "30", 30), ("readonly", "", 5)]
)
def test_an_api_that_is_busy_with_status_200_is_retried(server, open_web, clock, code, header, waited):
    busy = Reply(json.dumps({"error": {"code": code, "info": "later"}}).encode(), headers=(("Retry-After", header),))
    server.routes |= {"a.example/lag": in_turn(busy, {"query": 1}), "a.example/lagging": busy}
    web = open_web()
    assert web.fetch(Request("https://a.example/lag")).value == {"query": 1}
    assert clock.now == pytest.approx(SECONDS + waited, abs=0.1)
    with pytest.raises(HttpError, match=f"is busy \\({code}: later\\), 3 times"):
        web.fetch(Request("https://a.example/lagging"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<!DOCTYPE html><html><title>Just a moment", "a web page instead of JSON"),
        (b"", "sent nothing"),
        (b'{"results": [1, 2', "damaged or incomplete JSON"),
        (b"OK", "something that is not JSON"),
        (b"\xff\xfe\x00", "something that is not JSON"),
        (b"[" * 90_000, "nested deeper than"),
    ],
)
def test_what_is_not_json_is_one_sentence_that_names_the_host(server, open_web, body, words):
    server.routes["a.example/odd"] = body
    with pytest.raises(ServiceError, match=rf"a\.example.*{words}") as error:
        open_web().fetch(Request("https://a.example/odd"))
    assert "\n" not in str(error.value) and len(str(error.value)) < 250 and len(server.seen) == 1


def test_secrets_go_to_the_host_that_they_are_for_and_to_no_file(server, open_web, tmp_path):
    server.routes |= {
        "api.example/token": {"access_token": "t0p-secret"},
        "api.example/q": redirect("https://b.example/q"),
        "b.example/q": {"n": 1},
        "api.example/form": redirect("https://b.example/q", 307),
    }
    web = open_web()
    token = web.fetch(Request("https://api.example/token", form=(("client_secret", "s3cret"),), fresh=True))
    assert token.value["access_token"] == "t0p-secret" and server.seen[0].body == b"client_secret=s3cret"
    web.fetch(Request("https://api.example/q", authorization="Bearer t0p-secret"))
    assert server.seen[1].headers["authorization"] == "Bearer t0p-secret"
    assert "authorization" not in server.seen[2].headers
    with pytest.raises(ServiceError, match="redirects a form, which is not sent elsewhere"):
        web.fetch(Request("https://api.example/form", form=(("client_secret", "s3cret"),)))
    files = [path for path in (tmp_path / "http").rglob("*") if path.is_file()]
    text = b"".join(gzip.decompress(f.read_bytes()) if f.suffix == ".gz" else f.read_bytes() for f in files)
    assert b"s3cret" not in text and b"t0p-secret" not in text


def test_a_disk_without_space_is_one_sentence_and_what_was_stored_stays(server, open_web):
    noise = digest_bytes(b"noise")
    server.routes["a.example/long"] = {str(n): digest_bytes(f"{noise}{n}".encode()) for n in range(900)}
    web = open_web()
    first = web.fetch(Request("https://a.example/q"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(InputError, match=r"the cache folder .* cannot be used \(.*\); free space"):
            web.fetch(Request("https://a.example/long"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert web.evidence(first.sha256) and len(web.fetch(Request("https://a.example/long")).value) == 900


@pytest.mark.parametrize("name", ["gbif/v1_enumeration_basic_asdfadsf.txt", "openverse/images_foo.html"])
def test_recorded_responses_that_are_no_json_are_one_sentence(server, open_web, name):
    server.routes["a.example/recorded"] = recorded(name)
    with pytest.raises(ServiceError, match=r"^a\.example sent "):
        open_web().fetch(Request("https://a.example/recorded"))
