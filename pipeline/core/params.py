"""params.yaml as strict, frozen objects: an unknown key is an error that names the nearest known one.

params.yaml is the only home of defaults, so no field here has one unless absence itself has a meaning.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.core.errors import ParamsError

PositiveInt = Annotated[int, Field(gt=0, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, strict=True)]
PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
StopOrWarn = Literal["stop", "warn"]
SpeciesKey = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
PLACEHOLDERS = ("name", "class_noun")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _known_placeholders(template: str) -> str:
    fill_prompt(template, name="", class_noun="")
    return template


def _some(templates: tuple[str, ...]) -> tuple[str, ...]:
    if not templates:
        raise ValueError("it needs at least one prompt; write one or remove the key")
    return templates


Template = Annotated[str, AfterValidator(_known_placeholders)]
Prompts = Annotated[tuple[Template, ...], AfterValidator(_some)]


class SyntheticSource(Section):
    kind: Literal["synthetic"]
    taxon: str
    good: PositiveInt
    clutter: NonNegativeInt

    @property
    def label(self) -> str:
        """How tables name this source."""
        return f"{self.kind}:{self.taxon}"


class FolderSource(Section):
    kind: Literal["folder"]
    path: str
    licence: str
    author: str = ""
    trusted: bool = False  # True: chosen by hand, so curation does not ask what a picture shows

    @property
    def label(self) -> str:
        """How tables name this source."""
        return f"{self.kind}:{self.path}"


Source = Annotated[SyntheticSource | FolderSource, Field(discriminator="kind")]


class Species(Section):
    name: str
    class_noun: str
    sources: tuple[Source, ...] = Field(min_length=1)
    refresh_days: PositiveInt | None = None  # None: collect.refresh_days


class Base(Section):
    path: str
    family: str
    clip: str


class Collect(Section):
    refresh_days: PositiveInt
    licences: tuple[str, ...]


class Curate(Section):
    min_side_px: PositiveInt
    max_pixels: PositiveInt
    image_side_px: PositiveInt
    duplicate_phash_bits: NonNegativeInt
    duplicate_dhash_bits: NonNegativeInt
    min_sharpness: float
    min_class_margin: float
    classes: dict[str, Prompts]
    keep_classes: tuple[str, ...]
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

    decodable: StopOrWarn
    unique: StopOrWarn
    size: StopOrWarn
    mode: StopOrWarn
    licence: StopOrWarn
    author: StopOrWarn
    caption: StopOrWarn
    caption_length: StopOrWarn
    caption_name: StopOrWarn
    train_count: StopOrWarn
    holdout_count: StopOrWarn
    no_leak: StopOrWarn
    class_margin: StopOrWarn


class Validate(Section):
    min_train: PositiveInt
    min_holdout: PositiveInt
    caption_max_words: PositiveInt
    min_class_margin: float
    severity: Severity


class Lora(Section):
    rank: PositiveInt
    alpha: PositiveInt
    targets: tuple[str, ...]


class Dreambooth(Section):
    train_text_encoder: bool


class Prior(Section):
    weight: Annotated[float, Field(ge=0)]
    images: NonNegativeInt
    prompt: Template


class Train(Section):
    method: str
    steps: PositiveInt
    snapshots: tuple[PositiveInt, ...] = Field(min_length=1)
    batch_size: PositiveInt
    resolution_px: PositiveInt
    learning_rate: PositiveFloat
    warmup_steps: NonNegativeInt
    weight_decay: Annotated[float, Field(ge=0)]
    max_gradient_norm: PositiveFloat
    mirror: bool
    caption_dropout: Fraction
    save_every_steps: PositiveInt
    save_dtype: Literal["float16", "float32", "bfloat16"]
    prior: Prior
    dreambooth: Dreambooth
    lora: Lora

    @field_validator("snapshots")
    @classmethod
    def _are_reached(cls, snapshots: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        last = info.data.get("steps", max(snapshots))  # absent when `steps` itself is wrong
        if late := [step for step in snapshots if step > last]:
            raise ValueError(f"step {late[0]} is never reached, since train.steps is {last}")
        return tuple(sorted(set(snapshots)))


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


def fill_prompt(template: str, **values: str) -> str:
    """Put the species' words into a prompt template; ValueError names an unknown placeholder."""
    try:
        return template.format(**values)
    except (KeyError, IndexError, ValueError) as error:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(f"the prompt {template!r} has an unknown placeholder ({error}); known are {known}") from None


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
    location = [part for part in item["loc"] if part not in ("synthetic", "folder")]
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


_AnySource = create_model(
    "_AnySource", **{name: (Any, None) for kind in (SyntheticSource, FolderSource) for name in kind.model_fields}
)
