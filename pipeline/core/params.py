"""params.yaml as strict, frozen objects: an unknown key is an error that names the nearest known one.

params.yaml is the only home of defaults, so no field here has one unless absence itself has a meaning.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, create_model, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.core.errors import ParamsError
from pipeline.core.prompts import Template
from pipeline.core.source_params import KINDS, NonNegativeInt, PositiveInt, Section, Source, kind_names
from pipeline.core.train_params import Fraction, PositiveFloat, Train

StopOrWarn = Literal["stop", "warn"]
SpeciesKey = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


def _some(templates: tuple[str, ...]) -> tuple[str, ...]:
    if not templates:
        raise ValueError("it needs at least one prompt; write one or remove the key")
    return templates


Prompts = Annotated[tuple[Template, ...], AfterValidator(_some)]


class Taxon(Section):
    """Who the animal is by the authorities, as `paleo species add` found it; credits and pages show it."""

    accepted: str
    rank: str
    clade: tuple[str, ...] = ()  # from the widest to the narrowest
    interval_ma: tuple[float, float] | None = None  # oldest, youngest
    synonyms: tuple[str, ...] = ()
    pbdb: int | None = None
    gbif: int | None = None


class Species(Section):
    name: str
    class_noun: str
    taxon: Taxon | None = None
    sources: tuple[Source, ...] = Field(min_length=1)
    refresh_days: PositiveInt | None = None  # None: collect.refresh_days


class Base(Section):
    path: str
    family: str
    clip: str


class Download(Section):
    """When a download is given up, whatever its headers say."""

    connections: PositiveInt
    max_bytes: PositiveInt
    max_seconds: PositiveFloat
    min_bytes_per_second: NonNegativeInt
    attempts: PositiveInt


class Host(Section):
    """How a host is treated."""

    connections: PositiveInt
    requests_per_second: PositiveFloat
    requests_per_day: PositiveInt | None = None


class Openverse(Section):
    """The names of the environment variables that hold the credentials; unset: anonymous."""

    client_id_variable: str
    client_secret_variable: str


class Collect(Section):
    refresh_days: PositiveInt
    licences: tuple[str, ...]
    contact: str
    drop_vanished: bool
    download: Download
    hosts: dict[str, Host]
    openverse: Openverse
    replay: str

    @field_validator("hosts")
    @classmethod
    def _has_default(cls, hosts: dict[str, Host]) -> dict[str, Host]:
        if "default" not in hosts:
            raise ValueError("it needs an entry `default` for the hosts that it does not name")
        return hosts

    @field_validator("replay")
    @classmethod
    def _is_loopback(cls, address: str) -> str:
        if address and not re.fullmatch(r"http://(127\.0\.0\.1|localhost|\[::1\]):\d+", address):
            raise ValueError("it must be a server on this machine such as http://127.0.0.1:8000, or empty")
        return address


class Decode(Section):
    """What one picture may cost its child process."""

    processes: NonNegativeInt
    memory_mb: PositiveInt
    seconds: PositiveInt
    max_pixels: PositiveInt
    max_frames: PositiveInt


class Series(Section):
    cosine: Fraction
    keep: PositiveInt


class Curate(Section):
    decode: Decode
    min_side_px: PositiveInt
    max_aspect: Annotated[float, Field(ge=1)]
    crop_borders: bool
    image_side_px: PositiveInt
    duplicate_phash_bits: NonNegativeInt
    duplicate_dhash_bits: NonNegativeInt
    review_phash_bits: NonNegativeInt
    series: Series
    min_sharpness: float
    min_entropy_bits: Annotated[float, Field(ge=0)]
    min_class_margin: float
    classes: dict[str, Prompts]
    keep_classes: tuple[str, ...]
    media: dict[str, Prompts]
    few_shot_labels: NonNegativeInt
    captioner: str
    holdout_fraction: Fraction
    caption: Template

    @field_validator("keep_classes")
    @classmethod
    def _are_classes(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = info.data.get("classes", names)  # absent when `classes` itself is wrong
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of curate.classes ({', '.join(known)})")
        return names


class Severity(Section):
    """One key per expectation of `curation/expectations.py` (a test keeps them alike)."""

    # of the manifest
    manifest_licence: StopOrWarn
    manifest_author: StopOrWarn
    manifest_page: StopOrWarn
    manifest_stored: StopOrWarn
    manifest_reason: StopOrWarn
    manifest_unique: StopOrWarn
    manifest_count: StopOrWarn
    # of the curated set
    decodable: StopOrWarn
    unique: StopOrWarn
    size: StopOrWarn
    aspect: StopOrWarn
    mode: StopOrWarn
    licence: StopOrWarn
    author: StopOrWarn
    landing_page: StopOrWarn
    caption: StopOrWarn
    caption_length: StopOrWarn
    caption_vocabulary: StopOrWarn
    caption_name: StopOrWarn
    train_count: StopOrWarn
    holdout_count: StopOrWarn
    no_leak: StopOrWarn
    near_leak: StopOrWarn
    series_leak: StopOrWarn
    author_share: StopOrWarn
    class_margin: StopOrWarn
    drift: StopOrWarn


class Validate(Section):
    min_train: PositiveInt
    min_holdout: PositiveInt
    min_kept_share: Fraction
    caption_max_words: PositiveInt
    caption_forbidden: tuple[str, ...]
    max_author_share: Fraction
    min_class_margin: float
    max_drift: Annotated[float, Field(ge=0)]
    severity: Severity


class Sample(Section):
    prompts: tuple[Template, ...] = Field(min_length=1)
    negative: str
    seeds: tuple[NonNegativeInt, ...] = Field(min_length=1)
    sampler: str
    steps: PositiveInt
    guidance: Annotated[float, Field(ge=1)]
    width_px: PositiveInt
    height_px: PositiveInt
    batch_size: PositiveInt


class Evaluate(Section):
    bootstrap_resamples: PositiveInt
    primary: Literal["species_accuracy", "clip_i", "clip_t"]
    tie_margin: Fraction


class Gallery(Section):
    title: str
    external: dict[str, str]


class Register(Section):
    min_gain: float


class Versioning(Section):
    commit: bool
    tag: bool
    dvc_push: bool
    git_push: bool


class Params(Section):
    seed: NonNegativeInt
    species: dict[SpeciesKey, Species] = Field(min_length=1)
    base: Base
    collect: Collect
    curate: Curate
    validate_: Validate = Field(alias="validate")
    train: Train
    sample: Sample
    evaluate: Evaluate
    gallery: Gallery
    register_: Register = Field(alias="register")
    versioning: Versioning


def load(path: Path) -> Params:
    """Read and check params.yaml.

    Raises
    ------
    ParamsError
        One sentence per mistake: where it is, what it is, and the nearest key that exists.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing; run from the project's folder, or restore it from git") from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    return parse(text, path.name)


def parse(text: str, where: str) -> Params:
    """Check the text of a params file; `where` names it in the messages of a ParamsError."""
    try:
        raw = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ParamsError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ParamsError(f"{where} must hold sections such as `species:`, not {type(raw).__name__}")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise ParamsError("; ".join(_sentences(where, error))) from None


def _sentences(where: str, error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        yield f"{where}: {_sentence(item)}"


def _sentence(item: dict[str, Any]) -> str:
    location = [part for part in item["loc"] if part not in kind_names()]
    key, parent = ".".join(map(str, location)), ".".join(map(str, location[:-1]))
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _known_keys(location[:-1]), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_known_keys(location[:-1]))}"
        return f"unknown key {key!r}; {hint}"
    if item["type"] == "missing":
        return f"key {location[-1]!r} is missing under {parent or 'the top level'!r}"
    if item["type"] == "too_short":
        return f"{key} has {item['ctx']['actual_length']} entries; it needs at least {item['ctx']['min_length']}"
    return f"{key} is {item['input']!r}: {item['msg'].removeprefix('Value error, ')}"


def _known_keys(location: list[Any]) -> list[str]:
    """The keys that the section at `location` may have."""
    section: Any = Params
    for part in location:
        fields = {(f.alias or name): f.annotation for name, f in getattr(section, "model_fields", {}).items()}
        section = fields.get(part, section)
        section = {"species": Species}.get(part, section)
        if location and isinstance(part, int):
            section = _AnySource
    return [(f.alias or name) for name, f in getattr(section, "model_fields", {}).items()]


_AnySource = create_model("_AnySource", **{name: (Any, None) for kind in KINDS for name in kind.model_fields})
