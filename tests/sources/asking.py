"""What sources are handed in these tests in place of the web: answers from a script, with the questions on record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ServiceError
from pipeline.core.records import Answer, Request
from pipeline.sources import SOURCES, Offer

RECORDED = Path(__file__).parents[3] / "shared/data/api"
NOWHERE = Path("/nowhere")


class Asked:
    """An `ask` that answers by `reply(request)`: JSON values, or exceptions to raise."""

    def __init__(self, reply: Callable[[Request], Any]) -> None:
        self.reply, self.requests = reply, []

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        value = self.reply(request)
        if isinstance(value, Exception):
            raise value
        body = json.dumps(value)
        return Answer(json.loads(body), hashlib.sha256(body.encode()).hexdigest(), request.url)

    @property
    def queries(self) -> list[dict[str, str]]:
        return [dict(request.query) for request in self.requests]


def in_turn(*values: Any) -> Asked:
    """Answers one question after the other, and no more."""
    left: Iterator[Any] = iter(values)
    return Asked(lambda request: next(left))


def listed(source: Any, ask: Asked, **more: Any) -> list[Offer]:
    """Everything that a source offers."""
    return list(SOURCES[source.kind](source, NOWHERE, 0, ask, **more))


def until_it_fails(source: Any, ask: Asked) -> tuple[list[Offer], str]:
    """What a source offers before it fails, and the sentence that it fails with."""
    found: list[Offer] = []
    with pytest.raises(ServiceError) as failure:
        for offer in SOURCES[source.kind](source, NOWHERE, 0, ask):
            found.append(offer)
    return found, str(failure.value)


def recorded(name: str) -> Any:
    """A recorded answer; the test is skipped where there are none."""
    path = RECORDED / name
    if not path.is_file():
        pytest.skip(f"the recorded answer shared/data/api/{name} is not here")
    return json.loads(path.read_text())


def recordings(pattern: str) -> list[tuple[str, Any]]:
    """All recorded answers of a folder; the test is skipped where there are none."""
    paths = sorted(RECORDED.glob(pattern))
    if not paths:
        pytest.skip(f"the recorded answers shared/data/api/{pattern} are not here")
    return [(path.name, json.loads(path.read_text())) for path in paths]


def objects(value: Any) -> Iterator[dict]:
    """Every JSON object within a value."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(part)
