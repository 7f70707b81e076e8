"""Registered model versions, and releases: what a version is made from.

A version is one step of one training: the same lineage and step are registered once, and another step of the same
lineage is a version of its own. There is one registered model per species.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError

CHAMPION, CHALLENGER = "champion", "challenger"  # aliases: the version that serves, and the newest one


@dataclass(frozen=True)
class ModelVersion:
    """A registered version; its tags hold everything that is known about it."""

    species: str
    number: int
    tags: Mapping[str, str]
    source: str
    """Where its files lie: a folder or a URI."""
    aliases: tuple[str, ...] = ()
    run_id: str = ""
    created_ms: int = 0
    """When it was registered, in ms since the epoch; 0 where the registry does not have it."""

    @property
    def alias(self) -> str:
        """The one that says most, or nothing."""
        return next((alias for alias in (CHAMPION, CHALLENGER) if alias in self.aliases), "")

    def __str__(self) -> str:
        return f"version {self.number}" + (f" ({self.alias})" if self.alias else "")


@dataclass(frozen=True)
class Release:
    """The chosen step of a training with everything that is registered with it."""

    species: str
    lineage_id: str
    step: int
    weights: Mapping[str, Path]
    """checkpoint, credits, and the base model where it is stored with them."""
    code: str
    """Python that ends in mlflow.models.set_model."""
    config: Mapping[str, Any]
    """What that code must know beside the weights."""
    tags: Mapping[str, str]
    params: Mapping[str, str]
    deciding: tuple[str, ...]
    """The names of the params that are shown first."""
    scores: Mapping[int, Mapping[str, float]]
    """By step; 0 is the base model."""
    losses: Sequence[Mapping[str, float]]
    """The rows of train.csv: step, loss, learning_rate, …"""
    attachments: Mapping[str, Path]
    """Folder in the run -> file or folder."""
    contact_sheets: Mapping[int, Path]
    """By step, 0 being the base model: one picture of all samples."""
    dataset: Mapping[str, str]
    """Name, digest and where it lies."""

    @property
    def identity(self) -> dict[str, str]:
        return version_identity(self.lineage_id, self.step)


@dataclass(frozen=True)
class ReleaseLinks:
    """Where to read on about a version: addresses by what they show, and the one of its picture, if it has any."""

    picture: str = ""
    pages: Mapping[str, str] = field(default_factory=dict)


def version_identity(lineage_id: str, step: int) -> dict[str, str]:
    """The tags that make two releases the same version."""
    return {"lineage_id": lineage_id, "step": str(step)}


def with_identity(known: Sequence[ModelVersion], identity: Mapping[str, str]) -> ModelVersion | None:
    """The newest version that has all of these tags."""
    return next((v for v in reversed(known) if identity.items() <= v.tags.items()), None)


def with_alias(known: Sequence[ModelVersion], alias: str) -> ModelVersion | None:
    return next((version for version in known if alias in version.aliases), None)


def serving(known: Sequence[ModelVersion]) -> ModelVersion | None:
    """The version that draws where none is named: the champion, else the newest."""
    return with_alias(known, CHAMPION) or (known[-1] if known else None)


def with_number(known: Sequence[ModelVersion], species: str, number: int) -> ModelVersion:
    """The version of this number; InputError names the numbers that there are."""
    if not known:
        raise InputError(f"{species} has no registered version; run `paleo run {species}` first")
    for version in known:
        if version.number == number:
            return version
    raise InputError(f"{species} has no version {number}; there are {', '.join(str(v.number) for v in known)}")
