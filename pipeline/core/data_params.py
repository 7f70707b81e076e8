"""The sections `species`, `collect`, `curate` and `validate` of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from pipeline.core.param_types import (
    Fraction,
    Name,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Section,
    SidePx,
    SourceParams,
)
from pipeline.core.prompts import Template

StopOrWarn = Literal["stop", "warn"]
CC_VERSIONS = ("2.0", "2.5", "3.0", "4.0")
OPEN_LICENCES = ("CC0-1.0", "PDM-1.0", *(f"CC-BY-{v}" for v in CC_VERSIONS), *(f"CC-BY-SA-{v}" for v in CC_VERSIONS))


class Taxon(Section):
    """Who the animal is by the authorities, as `paleo species add` found it; credits and pages show it."""

    accepted: str
    rank: str
    clade: tuple[str, ...] = ()
    """From the widest to the narrowest."""
    interval_ma: tuple[float, float] | None = None
    """Oldest, youngest, in million years."""
    synonyms: tuple[str, ...] = ()
    pbdb: int | None = None
    gbif: int | None = None


class Species(Section):
    """One entry per model; the key names folders and the registered model."""

    name: Name
    """{name} in prompts."""
    class_noun: Name
    """{class_noun} in prompts: what the base model already knows."""
    taxon: Taxon | None = None
    sources: tuple[SourceParams, ...] = Field(min_length=1)
    refresh_days: PositiveInt | None = None
    """Without it: collect.refresh_days."""


class Download(Section):
    """When a download is given up, whatever its headers say."""

    connections: PositiveInt = 8
    """In all; `hosts` says how many of them to one host."""
    max_bytes: PositiveInt = 50_000_000
    max_seconds: PositiveFloat = 120
    """For one picture, redirects and all."""
    min_bytes_per_second: NonNegativeInt = 2000
    attempts: PositiveInt = 4
    """Of what may succeed later; 4xx that cannot change are not requested twice."""


class Host(Section):
    """Rate limits of one host."""

    connections: PositiveInt
    requests_per_second: PositiveFloat
    requests_per_day: PositiveInt | None = None


class Collect(Section):
    """Which pictures come in, and how the web is requested for them."""

    default_hosts: ClassVar[Mapping[str, Host]] = {"default": Host(connections=2, requests_per_second=2)}

    refresh_days: PositiveInt = 7
    """How old a collection may be before the refresh flow repeats it."""
    licences: tuple[str, ...] = OPEN_LICENCES
    """Accepted licences, ported ones too (CC-BY-SA-3.0-DE); NC and ND are refused because they are not named."""
    contact: str = ""
    """An e-mail or web address, sent to public APIs in the User-Agent; without one they are not requested."""
    drop_vanished: bool = False
    """true: a picture that its source no longer offers leaves the data set."""
    download: Download = Download()
    hosts: dict[str, Host] = Field(default={}, validate_default=True)
    """Rate limits by host, `default` for those without a line; every source brings those of its own hosts."""

    @field_validator("hosts")
    @classmethod
    def _completed(cls, hosts: dict[str, Host]) -> dict[str, Host]:
        return {**cls.default_hosts, **hosts}


class Decode(Section):
    """Limits of the child process that decodes a picture."""

    processes: NonNegativeInt = 0
    """0: one per core."""
    memory_mb: PositiveInt = 1024
    seconds: PositiveInt = 20
    max_pixels: PositiveInt = 50_000_000
    """Of each frame."""
    max_frames: PositiveInt = 100
    """An animation with more is refused."""


class Curate(Section):
    """What is kept of a collection; each check of `pipeline.curation.CHECKS` has a section of its own."""

    decode: Decode = Decode()
    crop_borders: bool = True
    """Plain borders are cut off."""
    image_side_px: SidePx = 512
    """Larger pictures are reduced to this shorter side."""
    captioner: str = ""
    """Folder of a local captioning model (BLIP), for pictures without caption and title."""
    holdout_fraction: Fraction = 0.2
    """Of the pictures, by series and author; never trained on."""
    caption: Template = "{name}"
    """For a picture that has neither caption nor title."""


class Validate(Section):
    """What must hold of a data set before anything is trained on it."""

    min_train: PositiveInt = 3
    """DreamBooth works from three to five pictures on."""
    min_holdout: PositiveInt = 1
    min_kept_share: Fraction = 0.05
    """Of the candidates; less means that the sources are wrong."""
    caption_max_words: PositiveInt = 40
    caption_forbidden: tuple[str, ...] = ("skeleton", "fossil", "specimen", "diagram", "map", "toy", "statue")
    """Words that the caption of a life reconstruction lacks."""
    max_author_share: Fraction = 0.6
    """One author's pictures among those to train on."""
    min_class_margin: float = 0.0
    """Cosine margin of CLIP for the kept class, below which a picture is pointed out."""
    max_drift: Annotated[float, Field(ge=0)] = 0.25
    """Population stability index of size, sharpness and margin against the version before."""
    severity: dict[str, StopOrWarn] = {}
    """By expectation, where it is not its default: `stop` fails the stage and nothing is trained; `warn` is shown."""
