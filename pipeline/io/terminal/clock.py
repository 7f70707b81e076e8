"""The clock: the one place that stages take the time from."""

from __future__ import annotations

from time import monotonic

__all__ = ["monotonic"]
