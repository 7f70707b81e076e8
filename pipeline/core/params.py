"""params.yaml as strict, frozen objects: an unknown key is an error that names the nearest known one.

Defaults and documentation stand at the fields (`paleo params` prints them all); what equals its default need not be
written. A plugin's own section, such as `train.lora`, is checked by the plugin's `Params`, which is imported when the
section is written or used.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, create_model
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.core import registry
from pipeline.core.data_params import Collect, Curate, Species, Validate
from pipeline.core.errors import ParamsError
from pipeline.core.param_types import Fraction, NonNegativeInt, PositiveInt, Section
from pipeline.core.prompts import Template
from pipeline.core.renamed_params import renamed
from pipeline.core.source_params import kind_names
from pipeline.core.training_params import Train

SpeciesKey = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
# Sections whose further keys are the names of plugins, and where those are listed.
PLUGIN_SECTIONS = {"train": "pipeline.methods:METHODS", "curate": "pipeline.curation:CHECKS"}


class Base(Section):
    """The base model, and the CLIP that curates and measures."""

    path: str = "pipeline/assets/tiny"
    """A diffusers folder; infra/profiles/ has Stable Diffusion 1.5, 2.1 and XL."""
    family: str = "sd"
    """sd (1.x, 2.x) | sdxl."""
    clip: str = "pipeline/assets/tiny"


class Sample(Section):
    """The prompt suite: every prompt with every seed, by the base and each snapshot."""

    prompts: tuple[Template, ...] = Field(default=("{name}",), min_length=1)
    negative_prompt: str = ""
    seeds: tuple[NonNegativeInt, ...] = Field(default=(1, 2, 3, 4), min_length=1)
    sampler: str = "DDIM"
    steps: PositiveInt = 20
    guidance_scale: Annotated[float, Field(ge=1)] = 3.0
    width_px: PositiveInt = 64
    height_px: PositiveInt = 64
    batch_size: PositiveInt = 24


class Evaluate(Section):
    bootstrap_resamples: PositiveInt = 2000
    primary: str = "species_accuracy"
    """The metric that picks the step; ties go to the fewest steps."""
    tie_margin: Fraction = 0.02


class Gallery(Section):
    title: str = "paleoforge"
    external: dict[str, str] = {}
    """Further columns: name -> folder with one picture per prompt."""


class Register(Section):
    min_gain: float = 0.0
    """By how much the primary metric must beat the champion's."""


class Versioning(Section):
    """What `refresh` does when a data set changed (on in infra/prefect.yaml)."""

    commit: bool = False
    tag: bool = False
    dvc_push: bool = False
    git_push: bool = False


class Params(Section):
    seed: NonNegativeInt
    """Decides pictures, noise, order and samples."""
    species: dict[SpeciesKey, Species] = Field(min_length=1)
    base: Base = Base()
    collect: Collect = Collect()
    curate: Curate = Curate()
    validate_: Validate = Field(default=Validate(), alias="validate")
    train: Train = Train()
    sample: Sample = Sample()
    evaluate: Evaluate = Evaluate()
    gallery: Gallery = Gallery()
    register_: Register = Field(default=Register(), alias="register")
    versioning: Versioning = Versioning()


def section(parent: Section, name: str, kind: type[Section]) -> Any:
    """A plugin's section of `parent` (`train`, `curate`), of type `kind`; its defaults where it is not written."""
    return getattr(parent, name, None) or kind()


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
    if old := renamed(raw):
        names = "; ".join(f"{before!r} is {after}" for before, after in old.items())
        raise ParamsError(f"{where}: {names}; `paleo params --rewrite` renames old keys, comments kept")
    try:
        return _model(raw).model_validate(raw)
    except ValidationError as error:
        raise ParamsError("; ".join(_sentences(where, raw, error))) from None


def plugins(name: str) -> Mapping[str, Any]:
    """The plugins whose sections stand in the section `name`, by their names; nothing is imported but the table."""
    return registry.load(PLUGIN_SECTIONS[name]) if name in PLUGIN_SECTIONS else {}


def _model(raw: Mapping[str, Any]) -> type[Params]:
    """`Params` with a field for every plugin's section that is written."""
    written = {
        name: tuple(key for key in raw.get(name) or () if key in plugins(name))
        for name in PLUGIN_SECTIONS
        if isinstance(raw.get(name), dict)
    }
    return _with_plugins(tuple(sorted(written.items())))


@cache
def _with_plugins(written: tuple[tuple[str, tuple[str, ...]], ...]) -> type[Params]:
    sections: dict[str, Any] = {}
    for name, keys in written:
        parent = Params.model_fields[name].annotation
        fields: dict[str, Any] = {key: (registry.plugin(plugins(name)[key]).Params, ...) for key in keys}
        sections[name] = (create_model(parent.__name__, __base__=parent, **fields), ...)
    return create_model("Params", __base__=Params, **sections)


def _sentences(where: str, raw: Mapping[str, Any], error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        yield f"{where}: {_sentence(item, raw)}"


def _sentence(item: Any, raw: Mapping[str, Any]) -> str:
    location = [part for part in item["loc"] if part not in kind_names()]
    key, parent = ".".join(map(str, location)), ".".join(map(str, location[:-1]))
    if item["type"] == "extra_forbidden":
        known = _known_keys(location[:-1], raw)
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.4)
        return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}")
    if item["type"] == "missing":
        return f"key {location[-1]!r} is missing under {parent or 'the top level'!r}"
    if item["type"] == "too_short":
        return f"{key} has {item['ctx']['actual_length']} entries; it needs at least {item['ctx']['min_length']}"
    return f"{key} is {item['input']!r}: {item['msg'].removeprefix('Value error, ')}"


def _known_keys(location: list[Any], raw: Mapping[str, Any]) -> list[str]:
    """The keys that the section at `location` may have, plugins' sections among them."""
    model: Any = _model(raw)
    for part in location:
        fields = {(f.alias or name): f.annotation for name, f in getattr(model, "model_fields", {}).items()}
        model = {"species": Species}.get(part, fields.get(part, model))
        if isinstance(part, int):
            model = _any_source()
    own = [(f.alias or name) for name, f in getattr(model, "model_fields", {}).items()]
    return [*own, *plugins(location[0])] if len(location) == 1 else own


@cache
def _any_source() -> type[BaseModel]:
    from pipeline.core.source_params import KINDS

    return create_model("AnySource", **{name: (Any, None) for kind in KINDS for name in kind.model_fields})
