"""`.work` of version 0.1.0: counts, responses, downloads and sessions that are there are used."""

from __future__ import annotations

import sqlite3

from pipeline.core.records import Request, StoredFile
from pipeline.io.web import crawl_session
from pipeline.io.web.downloads import DownloadStore
from pipeline.io.web.rate_limits import RateLimits
from pipeline.io.web.response_cache import CachedResponse, ResponseCache
from tests.web import SECONDS, collect_params

TODAY = "2027-01-15"  # of SECONDS


def _database(path, *statements: str) -> None:
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)


def test_requests_of_today_are_not_forgotten(tmp_path):
    _database(
        tmp_path / "http/manners.sqlite",
        "CREATE TABLE turns (host TEXT PRIMARY KEY, next REAL, quiet_until REAL) WITHOUT ROWID",
        "CREATE TABLE used (day TEXT, host TEXT, requests INTEGER, PRIMARY KEY (day, host)) WITHOUT ROWID",
        f"INSERT INTO used VALUES ('{TODAY}', 'a.example', 3)",
    )
    hosts = collect_params({"a.example": {"connections": 1, "requests_per_second": 1, "requests_per_day": 5}}).hosts
    limits = RateLimits(hosts, tmp_path / "http", lambda: SECONDS, lambda seconds: None)
    assert limits.budget_left("a.example") == 2
    limits.close()


def test_a_session_under_way_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(crawl_session.time, "time", lambda: SECONDS)
    (tmp_path / "dodo").mkdir()
    (tmp_path / "dodo/look.json").write_text(f'{{"number": 7, "began": {SECONDS - 60}}}')
    assert crawl_session.begin(tmp_path / "dodo").name == "dodo-7"


def test_responses_and_downloads_are_found(tmp_path):
    request = Request("https://a.example/q", (("a", "1"),))
    key = "e500874dbf215cf34bebbabc62afa85a24782d252227a3ab6f3b5409bbb1bf98"  # as version 0.1.0 computes it
    cache = ResponseCache(tmp_path / "http/answers")
    sha256 = cache.put_body(b"{}")
    cache.close()
    with sqlite3.connect(tmp_path / "http/answers/answers.sqlite") as db:
        db.execute(f"INSERT INTO answers VALUES ('{key}', 'dodo-7', '{sha256}', 'https://a.example/q', '', '')")
    cache = ResponseCache(tmp_path / "http/answers")
    assert cache.get(request) == CachedResponse("dodo-7", sha256, "https://a.example/q")
    cache.close()
    url = "https://a.example/1.jpg"
    _database(
        tmp_path / "downloads/index.sqlite",
        "CREATE TABLE stored (url TEXT PRIMARY KEY, sha256 TEXT, bytes INTEGER, final_url TEXT, content_type TEXT)",
        f"INSERT INTO stored VALUES ('{url}', '{sha256}', 2, '{url}', 'image/jpeg')",
    )
    content = tmp_path / f"downloads/content/{sha256[:2]}/{sha256}"
    content.parent.mkdir(parents=True)
    content.write_bytes(b"{}")
    with DownloadStore(tmp_path / "downloads", "dodo-7") as store:
        assert store.find(url) == StoredFile(sha256, 2, url, "image/jpeg")
        assert store.content(sha256) == b"{}"
