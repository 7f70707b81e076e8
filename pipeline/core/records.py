"""The nouns of the pipeline: frozen records that stages hand to each other through tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Candidate:
    """A picture that a source offers, before a byte of it was judged.

    `licence` is its SPDX name (public-domain mark: PDM-1.0) or empty, `licence_text` what the source wrote; `shows` is
    "specimen" where the source says that it is a fossil, a skeleton or a carcass; `evidence` is the sha256 of the
    answer that says all this.
    """

    source: str
    source_id: str
    image_url: str
    page_url: str = ""
    title: str = ""
    caption: str = ""
    author: str = ""
    licence: str = ""
    licence_url: str = ""
    author_url: str = ""
    licence_text: str = ""
    shows: str = ""
    taxon: str = ""
    evidence: str = ""


@dataclass(frozen=True)
class Request:
    """A question to a web API: everything that its answer depends on.

    With a `form` it is a POST of these fields. `form` and `authorization` (the header's value) may hold secrets, so
    they are in no message. `fresh`: the answer must not come from a cache.
    """

    url: str
    query: tuple[tuple[str, str], ...] = ()
    accept: str = "application/json"
    form: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    authorization: str = field(default="", repr=False)
    fresh: bool = False


@dataclass(frozen=True)
class Answer:
    """What an API said: the parsed JSON, the sha256 of its body, and the address that finally answered."""

    value: Any
    sha256: str
    url: str = ""


@dataclass(frozen=True)
class Rejection:
    """Why one picture was dropped: `code` is stable, `sentence` is for people."""

    check: str
    code: str
    sentence: str
    score: float | None = None


@dataclass(frozen=True)
class ImageRecord:
    """A picture whose bytes are stored under their sha256; `path` is relative to the data set."""

    sha256: str
    path: str
    size_bytes: int
    candidate: Candidate


@dataclass(frozen=True)
class Manifest:
    """What collect found: every candidate is in exactly one of the two tuples."""

    records: tuple[ImageRecord, ...]
    rejections: tuple[tuple[Candidate, Rejection], ...] = ()
    digest: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """Weights after `step` optimiser steps (0 is the base model itself)."""

    family: str
    method: str
    step: int
    path: str
    base: str
    lineage_id: str = ""

    @property
    def label(self) -> str:
        return f"step-{self.step:06d}" if self.step else "base"


@dataclass(frozen=True)
class Subject:
    """What is learnt: the species' key in params.yaml, its name, and the noun that the base already knows."""

    key: str
    name: str
    class_noun: str


@dataclass(frozen=True)
class SampleSpec:
    """Everything that decides one sampled picture, apart from the weights."""

    prompt: str
    seed: int
    sampler: str
    steps: int
    guidance_scale: float
    width_px: int
    height_px: int
    negative_prompt: str = ""


@dataclass(frozen=True)
class Score:
    """A measured value with its interval (95 %, clustered by prompt where there are prompts)."""

    metric: str
    value: float
    n: int
    better: Literal["higher", "lower"] = "higher"
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class StepReport:
    """One optimiser step, as the training loop reports it."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    images_per_second: float
    memory_mb: float = 0.0  # the most that was ever in use: of the GPU where there is one


@dataclass(frozen=True)
class Preview:
    """A picture that a training draws at a monitored step; `content` is a PNG, `number` counts the prompts from 1."""

    number: int
    prompt: str
    seed: int
    content: bytes = field(repr=False)

    @property
    def file_name(self) -> str:
        return f"{self.number:02d}-s{self.seed}.png"


@dataclass(frozen=True)
class MonitoringReport:
    """Monitoring of a training at a step: held-out losses by timestep, `before` those of step 0 if known, previews."""

    step: int
    losses: Mapping[int, float] = field(default_factory=dict)
    before: Mapping[int, float] = field(default_factory=dict)
    previews: tuple[Preview, ...] = ()

    @property
    def loss(self) -> float | None:
        """The mean over timesteps; None when nothing was held out."""
        return sum(self.losses.values()) / len(self.losses) if self.losses else None

    @property
    def relative(self) -> dict[int, float]:
        """Each loss divided by that of step 0."""
        return {t: loss / self.before[t] for t, loss in self.losses.items() if t in self.before}

    @property
    def relative_loss(self) -> float | None:
        """The mean loss divided by that of step 0."""
        return sum(self.losses.values()) / sum(self.before.values()) if self.losses and self.before else None


@dataclass(frozen=True)
class Report:
    """What a stage prints at its end: `lines` for people, `numbers` for the metrics file."""

    stage: str
    lines: tuple[str, ...] = ()
    numbers: dict[str, Any] = field(default_factory=dict)
