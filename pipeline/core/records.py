"""The nouns of the pipeline: frozen records that stages hand to each other through tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Candidate:
    """A picture that a source offers, before a byte of it was received.

    `licence` is its SPDX name (public-domain mark: PDM-1.0) or empty, `licence_text` what the source wrote; `shows` is
    "specimen" where the source marks it as a fossil, a skeleton or a carcass; `evidence` is the sha256 of the API
    response that all this was read from.
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
    """A request to a web API: everything that its response depends on.

    With a `form` it is a POST of these fields. `form` and `authorization` (the header's value) may hold secrets, so
    they are in no message. `fresh`: the response must not come from a cache.
    """

    url: str
    query: tuple[tuple[str, str], ...] = ()
    accept: str = "application/json"
    form: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    authorization: str = field(default="", repr=False)
    fresh: bool = False


@dataclass(frozen=True)
class ApiResponse:
    """The parsed JSON that an API sent, the sha256 of its body, and the URL that it came from after redirects."""

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
class StoredFile:
    """Bytes that were collected; `final_url` (after redirects) and `content_type` are empty for a local file."""

    sha256: str
    size_bytes: int
    final_url: str = ""
    content_type: str = ""


@dataclass(frozen=True)
class CollectedImage:
    """A row of the manifest: a candidate and what became of it.

    `file` is None until the bytes are there. `path`, relative to the data set, is set while the file lies in it.
    `rejection` is None for an image that is kept; the manifest stores its code and sentence, not its check.
    """

    candidate: Candidate
    file: StoredFile | None = None
    path: str = ""
    rejection: Rejection | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Source and id within it: what identifies a row."""
        return self.candidate.source, self.candidate.source_id

    @property
    def sha256(self) -> str | None:
        return self.file.sha256 if self.file else None

    @property
    def awaits_download(self) -> bool:
        return self.file is None and self.rejection is None

    def rejected(self, rejection: Rejection | None) -> CollectedImage:
        """The same candidate, not kept; itself when there is nothing to reject it for."""
        return replace(self, rejection=rejection, path="") if rejection else self

    def row(self) -> dict[str, Any]:
        """The values of `MANIFEST_COLUMNS`."""
        file, rejection = self.file or StoredFile("", 0), self.rejection
        return {
            **{name: getattr(self.candidate, name) for name in CANDIDATE_COLUMNS},
            "final_url": file.final_url,
            "content_type": file.content_type,
            "sha256": file.sha256,
            "path": self.path,
            "bytes": file.size_bytes,
            "kept": rejection is None,
            "reason_code": rejection.code if rejection else "",
            "reason": rejection.sentence if rejection else "",
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> CollectedImage:
        """The image of a manifest's row."""
        file = StoredFile(row["sha256"], int(row["bytes"]), row["final_url"], row["content_type"])
        return cls(
            Candidate(**{name: row[name] for name in CANDIDATE_COLUMNS}),
            file if file.sha256 else None,
            row["path"],
            Rejection("collect", row["reason_code"], row["reason"]) if row["reason_code"] else None,
        )


CANDIDATE_COLUMNS = tuple(column.name for column in fields(Candidate))
MANIFEST_COLUMNS = {  # of manifest.parquet, in this order -> dtype
    **dict.fromkeys((*CANDIDATE_COLUMNS, "final_url", "content_type", "sha256", "path"), "str"),
    "bytes": "int64",
    "kept": "bool",
    "reason_code": "str",
    "reason": "str",
}


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
