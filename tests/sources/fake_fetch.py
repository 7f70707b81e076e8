"""What sources are handed in these tests in place of the web: scripted responses, with the requests on record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ServiceError
from pipeline.core.records import ApiResponse, Request
from pipeline.sources import source_of
from pipeline.sources.source import Offer, SourceContext

RECORDED = Path(__file__).parents[3] / "shared/data/api"
NOWHERE = Path("/nowhere")


class FakeFetch:
    """A `fetch` that responds with `reply(request)`: JSON values, or exceptions to raise."""

    def __init__(self, reply: Callable[[Request], Any]) -> None:
        self.reply, self.requests = reply, []

    def __call__(self, request: Request) -> ApiResponse:
        self.requests.append(request)
        value = self.reply(request)
        if isinstance(value, Exception):
            raise value
        body = json.dumps(value)
        return ApiResponse(json.loads(body), hashlib.sha256(body.encode()).hexdigest(), request.url)

    @property
    def queries(self) -> list[dict[str, str]]:
        return [dict(request.query) for request in self.requests]


def in_turn(*values: Any) -> FakeFetch:
    """Responds to one request after the other, and to no more."""
    left: Iterator[Any] = iter(values)
    return FakeFetch(lambda request: next(left))


def offers(source: Any, fetch: FakeFetch, root: Path = NOWHERE, credentials: tuple[str, ...] = ()) -> Iterator[Offer]:
    return source_of(source).pictures(source, SourceContext(root, 0, fetch, credentials))


def listed(source: Any, fetch: FakeFetch, **more: Any) -> list[Offer]:
    """Everything that a source offers."""
    return list(offers(source, fetch, **more))


def until_it_fails(source: Any, fetch: FakeFetch) -> tuple[list[Offer], str]:
    """What a source offers before it fails, and the sentence that it fails with."""
    found: list[Offer] = []
    with pytest.raises(ServiceError) as failure:
        for offer in offers(source, fetch):
            found.append(offer)
    return found, str(failure.value)


def recorded(name: str) -> Any:
    """A recorded response; the test is skipped where there are none."""
    path = RECORDED / name
    if not path.is_file():
        pytest.skip(f"the recorded response shared/data/api/{name} is not here")
    return json.loads(path.read_text())


def recordings(pattern: str) -> list[tuple[str, Any]]:
    """All recorded responses of a folder; the test is skipped where there are none."""
    paths = sorted(RECORDED.glob(pattern))
    if not paths:
        pytest.skip(f"the recorded responses shared/data/api/{pattern} are not here")
    return [(path.name, json.loads(path.read_text())) for path in paths]


def objects(value: Any) -> Iterator[dict]:
    """Every JSON object within a value."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(part)
