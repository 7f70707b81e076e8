"""A server on loopback and clients of it."""

import pytest

from pipeline.io.web.client import WebClient
from tests.replay import replay
from tests.web import PICTURE, Clock, collect_params


@pytest.fixture
def server():
    with replay({"a.example/x.jpg": PICTURE, "a.example/q": {"results": [1, 2]}}) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_web(server, clock, tmp_path):
    """Open a client of the server: the folder is the same every time, the keywords change params."""
    opened = []

    def start(
        session: str = "session-1", hosts: dict | None = None, contact: str = "jane@example.org", **download
    ) -> WebClient:
        collect = collect_params(hosts, contact, **download)
        opened.append(
            WebClient(collect, tmp_path / "http", session=session, replay=server.url, now=clock, sleep=clock.sleep)
        )
        return opened[-1]

    yield start
    for web in opened:
        web.__exit__()
