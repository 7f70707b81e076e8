"""The web client against a loopback server in place of every host: false headers, drips, loops, zip bombs."""

import gzip
import time

import pytest

from pipeline.core.errors import ParamsError, ServiceError
from pipeline.core.records import Request
from pipeline.io.web.client import REPLAY, WebClient, user_agent
from tests.replay import Reply, cookie_wall, drip, endless, gzip_bomb, partial_content, redirect, silence, wrong_length
from tests.web import MAX_BYTES, PICTURE, collect_params, refusal


def test_a_picture_comes_byte_for_byte_with_the_address_that_gave_it(server, open_web):
    server.routes["b.example/moved"] = redirect("https://a.example/x.jpg", 301)
    found = open_web().download("http://b.example/moved#part")
    assert (found.content, found.url, found.content_type) == (PICTURE, "https://a.example/x.jpg", "image/jpeg")


def test_every_request_has_the_contact_address_and_no_cookie(server, open_web):
    server.routes["a.example/jar"] = Reply(PICTURE, headers=(("Set-Cookie", "track=1"),))
    web = open_web()
    web.download("https://a.example/jar")
    web.download("https://a.example/jar")
    headers = server.seen[1].headers
    assert headers["user-agent"].startswith("paleoforge/") and "(jane@example.org) httpx/" in headers["user-agent"]
    assert headers["host"] == "a.example" and "cookie" not in headers


@pytest.mark.parametrize(
    "contact", ["jane@example.org\r\nX-Evil: 1", "a\nb", "jane\x00", "jürgen@example.org", "\u202e"]
)
def test_a_contact_that_could_add_a_header_is_refused(contact):
    with pytest.raises(ParamsError, match="collect.contact is"):
        user_agent(contact)


def test_at_most_five_hops_and_no_circles(server, open_web):
    hops = {f"a.example/hop{n}": redirect(f"/hop{n + 1}") for n in range(6)}
    server.routes |= hops | {"a.example/hop5": PICTURE}
    web = open_web()
    assert web.download("https://a.example/hop0").url == "https://a.example/hop5"
    server.routes |= {"a.example/hop5": redirect("/hop6"), "a.example/hop6": PICTURE}
    assert refusal(web, "hop0").code == "too_many_redirects"
    server.routes |= {
        "a.example/hop2": redirect("https://a.example/hop1"),
        "a.example/wall": cookie_wall("/wall", PICTURE),
    }
    assert refusal(web, "hop0").code == "redirect_loop"
    assert refusal(web, "wall").code == "redirect_loop"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("http://127.0.0.1/", "private_address"),
        ("http://2130706433/", "private_address"),
        ("//169.254.169.254/latest/meta-data/", "private_address"),
        ("http://[::ffff:10.0.0.1]/", "private_address"),
        ("ftp://a.example/x.jpg", "bad_address"),
        ("file:///etc/passwd", "bad_address"),
        ("https://a.example:8443/x.jpg", "bad_address"),
        ("http://u:p@a.example/", "bad_address"),
        ("http://[", "bad_address"),
    ],
)
def test_every_redirect_is_judged_like_a_first_address(server, open_web, target, code):
    server.routes["a.example/away"] = redirect(target)
    assert refusal(open_web(), "away").code == code
    assert len(server.seen) == 1


def test_this_machine_is_not_reached_without_a_replay_server(server, tmp_path, monkeypatch):
    monkeypatch.delenv(REPLAY, raising=False)

    def resolve(host, port, **_):
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    with WebClient(collect_params(), tmp_path, resolve=resolve) as web:
        assert web.download(server.url).code == "bad_address"  # its port
        assert web.download("http://127.0.0.1/x.jpg").code == "private_address"
        assert web.download("https://a.example/x.jpg").code == "private_address"
        with pytest.raises(ServiceError, match=r"a\.example \(127\.0\.0\.1\) is not an address of the public internet"):
            web.fetch(Request("https://a.example/q"))
    assert server.seen == []


def test_the_replay_server_may_come_from_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv(REPLAY, server.url)
    with WebClient(collect_params(), tmp_path) as web:
        assert web.download("https://a.example/x.jpg").content == PICTURE


@pytest.mark.parametrize(
    "address",
    ["http://example.org:80", "http://10.0.0.1:8000", "https://127.0.0.1:1", "http://127.0.0.1", "127.0.0.1:8"],
)
def test_a_replay_server_must_be_on_this_machine(tmp_path, monkeypatch, address):
    with pytest.raises(ParamsError, match=f"{REPLAY} is wrong: .* is no server on this machine"):
        WebClient(collect_params(), tmp_path, replay=address)
    monkeypatch.setenv(REPLAY, address)
    with pytest.raises(ParamsError, match="is no server on this machine"):
        WebClient(collect_params(), tmp_path)


def test_a_source_that_wants_no_contact_is_requested_without_one(server, open_web):
    assert open_web(contact="").fetch(Request("https://a.example/q"), anonymous=True).value == {"results": [1, 2]}


def test_a_body_is_cut_off_at_the_limit_whatever_its_headers_announce(server, open_web):
    server.routes |= {
        "a.example/big": bytes(MAX_BYTES + 1),
        "a.example/fits": bytes(MAX_BYTES),
        "a.example/endless": endless(),
        "a.example/boast": wrong_length(b"x", 10**12),
    }
    web = open_web()
    assert [refusal(web, path).code for path in ("big", "endless", "boast")] == ["too_many_bytes"] * 3
    assert len(web.download("https://a.example/fits").content) == MAX_BYTES


def test_a_compressed_body_is_cut_off_at_the_limit_decompressed(server, open_web):
    server.routes |= {
        "a.example/bomb": gzip_bomb(50_000_000),
        "a.example/packed": Reply(gzip.compress(PICTURE), headers=(("Content-Encoding", "gzip"),)),
        "a.example/brotli": Reply(b"\x0b\x02\x80hello\x03", headers=(("Content-Encoding", "br"),)),
        "a.example/broken": Reply(gzip.compress(PICTURE)[:-20], headers=(("Content-Encoding", "gzip"),)),
        "a.example/lie": Reply(PICTURE, headers=(("Content-Encoding", "gzip"),)),
        "a.example/twice": Reply(gzip.compress(gzip.compress(PICTURE)), headers=(("Content-Encoding", "gzip, gzip"),)),
    }
    web = open_web()
    assert web.download("https://a.example/packed").content == PICTURE
    assert server.seen[0].headers["accept-encoding"] == "identity"
    codes = [refusal(web, path).code for path in ("bomb", "brotli", "broken", "lie", "twice")]
    assert codes == ["too_many_bytes", "server_failed", "truncated", "truncated", "server_failed"]
    with pytest.raises(ServiceError, match="compresses more than 100000 bytes"):
        web.fetch(Request("https://a.example/bomb"))


def test_a_drip_is_given_up_by_its_speed(server, open_web):
    server.routes["a.example/drip"] = drip(PICTURE, 0.02)
    assert refusal(open_web(max_seconds=1), "drip").code == "too_slow"


def test_a_drip_of_headers_is_given_up_as_well(server, open_web):
    def response(exchange):
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(400):
            exchange.wfile.write(b"x")
            time.sleep(0.02)

    server.routes["a.example/headers"] = response
    assert refusal(open_web(max_seconds=1), "headers").code == "too_slow"
    assert refusal(open_web(max_seconds=0.5, min_bytes_per_second=0), "headers").code == "too_long"


def test_a_download_has_so_many_seconds_in_all_redirects_and_attempts_included(server, open_web):
    def late(target):
        return lambda exchange: (time.sleep(0.3), exchange.head(302, ("Location", target), ("Content-Length", "0")))

    server.routes |= {f"a.example/{n}": late(f"/{n + 1}") for n in range(5)} | {"a.example/mute": silence(5)}
    web = open_web(max_seconds=0.7, min_bytes_per_second=0)
    assert refusal(web, "0").code in ("too_long", "no_answer")
    assert server.count("a.example/3") == 0
    assert refusal(web, "mute").code == "no_answer"
    assert server.count("a.example/mute") == 1  # the time was over before it hung up


def test_a_body_that_is_not_whole_is_truncated(server, open_web):
    server.routes |= {
        "a.example/short": wrong_length(PICTURE, len(PICTURE) + 1),
        "a.example/part": partial_content(PICTURE),
    }
    web = open_web()
    assert refusal(web, "short").code == "truncated" and server.count("a.example/short") == 3
    assert refusal(web, "part").code == "truncated" and server.count("a.example/part") == 1


@pytest.mark.parametrize(
    "tags", [["noai"], ["noindex, NoImageAI"], ["googlebot: noindex", "NOAI"], ["otherbot: noai"], ["a, b,noimageai "]]
)
def test_a_noai_tag_is_honoured(server, open_web, tags):
    server.routes["a.example/mine.jpg"] = Reply(PICTURE, headers=tuple(("X-Robots-Tag", tag) for tag in tags))
    server.routes["a.example/there"] = Reply(b"", 302, headers=(("Location", "/x.jpg"), ("X-Robots-Tag", tags[-1])))
    web = open_web()
    assert [refusal(web, path).code for path in ("mine.jpg", "there")] == ["noai", "noai"]
    assert server.count("a.example/x.jpg") == 0


def test_other_robot_tags_are_about_search(server, open_web):
    tags = ("noindex, nofollow", "googlebot: noarchive", "unavailable_after: 25 Jun 2010 15:00:00 PST", "noaiii")
    server.routes["a.example/ok.jpg"] = Reply(PICTURE, headers=tuple(("X-Robots-Tag", tag) for tag in tags))
    assert open_web().download("https://a.example/ok.jpg").content == PICTURE
