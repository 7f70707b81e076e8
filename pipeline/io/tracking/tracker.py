"""The contract of an experiment tracker: what a run is opened with, and what is logged to it.

A tracker is an observer: no method may raise or wait for the outside, because training must not stop or slow down when
its log cannot be written. Opening a run may raise a ServiceError or an InputError: that is before any training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

RunStatus = Literal["FINISHED", "KILLED", "FAILED"]  # MLflow's words; a killed run can be continued


@dataclass(frozen=True)
class RunDescription:
    """What a run is opened with.

    `deciding` are the names of the params that a tracker shows first, where it has room for few; empty: all of them.
    `continue_by` names a tag: an unfinished run of the same experiment with the same value of it is continued, and what
    it has logged is not logged twice.
    """

    experiment: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    deciding: tuple[str, ...] = ()
    continue_by: str | None = None

    @property
    def shown_params(self) -> dict[str, str]:
        return {key: value for key, value in self.params.items() if not self.deciding or key in self.deciding}


class Tracker(Protocol):
    """One open run. Every method returns at once."""

    def metrics(self, values: Mapping[str, float], step: int) -> None: ...

    def image(self, picture: Image, key: str, step: int) -> None:
        """A picture; those with one key show the same thing at different steps."""

    def artifact(self, path: Path, folder: str | None) -> None:
        """A file, or a folder with what is in it."""

    def close(self, status: RunStatus) -> None: ...


class OpenRun(Protocol):
    """What a row of TRACKERS names: opens a run of the project in `root`."""

    def __call__(self, root: Path, run: RunDescription) -> Tracker: ...
