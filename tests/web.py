"""Params and a clock for tests of the web client: `tests.replay` is its other end."""

from __future__ import annotations

import threading

from pipeline.core import params
from pipeline.core.params import Collect
from pipeline.core.records import Rejection
from pipeline.io.web.client import WebClient
from tests.project import ROOT

SECONDS = 1_800_000_000.0  # of the clock in these tests
PICTURE = bytes(range(256)) * 40
MAX_BYTES = 100_000
DEFAULTS = params.load(ROOT / "params.yaml").collect


class Clock:
    """Time that passes only in `sleep`."""

    def __init__(self) -> None:
        self.now = SECONDS
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


def collect_params(hosts: dict | None = None, contact: str = "jane@example.org", **download) -> Collect:
    limits = {"connections": 4, "max_bytes": MAX_BYTES, "max_seconds": 20, "min_bytes_per_second": 2000, "attempts": 3}
    quick = {"default": {"connections": 4, "requests_per_second": 10_000}}
    changes = {"contact": contact, "download": limits | download, "hosts": quick | (hosts or {})}
    return Collect.model_validate(DEFAULTS.model_dump() | changes)


def refusal(web: WebClient, path: str, host: str = "a.example") -> Rejection:
    found = web.download(f"https://{host}/{path}")
    assert isinstance(found, Rejection) and found.check == "download"
    assert found.sentence.endswith(".") and "\n" not in found.sentence
    return found
