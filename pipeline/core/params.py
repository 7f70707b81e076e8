"""params.yaml as strict, frozen objects: an unknown key is an error that names the nearest known one.

Defaults and documentation stand at the fields (`paleo params` prints them all); what equals its default need not be
written. A plugin's own section, such as `train.lora`, is checked by the plugin's `Params`, which is imported when the
section is written or used; so is an entry of `species.<key>.sources`, by the source that its `kind` names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Union

from pydantic import ConfigDict, Discriminator, Field, Tag, ValidationError, create_model, field_validator

from pipeline.core import registry, yaml_text
from pipeline.core.data_params import Collect, Curate, Host, Species, Validate
from pipeline.core.errors import ParamsError
from pipeline.core.param_errors import requirement, shown
from pipeline.core.param_types import BatchSize, Fraction, SamplerSteps, Section, Seed, SidePx, SourceParams
from pipeline.core.prompts import Template
from pipeline.core.renamed_params import renamed
from pipeline.core.training_params import Train

MAX_KEY_LENGTH = 100  # names of folders, tags and registered models begin with it
SpeciesKey = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=MAX_KEY_LENGTH)]
# Sections whose further keys are the names of plugins, and where those are listed.
PLUGIN_SECTIONS = {"train": "pipeline.methods:METHODS", "curate": "pipeline.curation:CHECKS"}
SOURCES = "pipeline.sources:SOURCES"
LONGEST_PART = 100  # characters of a key, in a message
MAX_SENTENCES = 10  # about one params.yaml, each of a mistake
SOURCE_TAG = 4  # place of the `kind` in pydantic's location species.KEY.sources.NUMBER.KIND.FIELD


class Base(Section):
    """The base model, and the CLIP that curates and measures."""

    path: str = "pipeline/assets/tiny"
    """A diffusers folder; infra/profiles/ has Stable Diffusion 1.5, 2.1 and XL."""
    family: str = "sd"
    """sd (1.x, 2.x) | sdxl."""
    clip: str = "pipeline/assets/tiny"
    hub_id: Annotated[str, Field(pattern=r"^([\w.-]+/[\w.-]+)?$")] = ""
    """The base model's id on Hugging Face, such as `stabilityai/stable-diffusion-xl-base-1.0`, for model cards."""


class Sample(Section):
    """The prompt suite: every prompt with every seed, by the base and each snapshot."""

    prompts: tuple[Template, ...] = Field(default=("{name}",), min_length=1)
    negative_prompt: str = ""
    seeds: tuple[Seed, ...] = Field(default=(1, 2, 3, 4), min_length=1)
    sampler: str = "DDIM"
    steps: SamplerSteps = 20
    guidance_scale: Annotated[float, Field(ge=1, le=1000)] = 3.0
    width_px: SidePx = 64
    height_px: SidePx = 64
    batch_size: BatchSize = 24


class Evaluate(Section):
    bootstrap_resamples: Annotated[int, Field(gt=0, le=1_000_000, strict=True)] = 2000
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
    min_primary: float | None = None
    """What the primary metric of a first champion must reach; one that does not stays challenger. null: anything."""
    min_held_out: Annotated[int, Field(ge=0, strict=True)] = 0
    """How many held-out pictures a first champion must have been measured with, at least."""


class Versioning(Section):
    """What `refresh` does when a data set changed (on in infra/prefect.yaml)."""

    commit: bool = False
    tag: bool = False
    dvc_push: bool = False
    git_push: bool = False


class Params(Section):
    seed: Seed
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
        raise ParamsError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    return parse(text, path.name)


def parse(text: str, where: str) -> Params:
    """Check the text of a params file; `where` names it in the messages of a ParamsError."""
    raw = sections(text, where)
    if old := renamed(raw):
        names = "; ".join(f"{before!r} is {after}" for before, after in old.items())
        raise ParamsError(f"{where}: {names}; `paleo params --rewrite` renames old keys, comments kept")
    try:
        return _model(raw).model_validate(raw)
    except ValidationError as error:
        sentences = list(_sentences(where, raw, error))
        more = [f"and {len(sentences) - MAX_SENTENCES} more mistakes"] if sentences[MAX_SENTENCES:] else []
        raise ParamsError("; ".join([*sentences[:MAX_SENTENCES], *more])) from None


def sections(text: str, where: str) -> dict[str, Any]:
    """The text of a params file as nested dicts, keys and values unchecked; ParamsError where it is no such YAML."""
    raw = yaml_text.load(text, where)
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else f"a {type(raw).__name__}"
        raise ParamsError(f"{where} must hold sections such as `species:`; it holds {found}")
    return raw


def plugins(name: str) -> Mapping[str, Any]:
    """The plugins whose sections stand in the section `name`, by their names; nothing is imported but the table."""
    return registry.load(PLUGIN_SECTIONS[name]) if name in PLUGIN_SECTIONS else {}


def _model(raw: Mapping[str, Any]) -> type[Params]:
    """`Params` with a field for every plugin's section that is written, and the sources that are used."""
    written = {
        name: tuple(key for key in raw.get(name) or () if key in plugins(name))
        for name in PLUGIN_SECTIONS
        if isinstance(raw.get(name), dict)
    }
    known = registry.load(SOURCES)
    used = {kind: registry.plugin(known[kind]) for kind in known if kind in _kinds(raw)}
    return _with_plugins(tuple(sorted(written.items())), tuple(used.values()))


def _kinds(raw: Mapping[str, Any]) -> set[str]:
    """The `kind` of every source that is written."""
    species = raw.get("species")
    entries = species.values() if isinstance(species, dict) else ()
    lists = [entry.get("sources") for entry in entries if isinstance(entry, dict)]
    sources = [source for found in lists if isinstance(found, list | tuple) for source in found]
    return {str(source.get("kind")) for source in sources if isinstance(source, dict)}


@cache
def _with_plugins(written: tuple[tuple[str, tuple[str, ...]], ...], sources: tuple[Any, ...]) -> type[Params]:
    sections: dict[str, Any] = {}
    for name, keys in written:
        parent: Any = Params.model_fields[name].annotation
        fields: dict[str, Any] = {key: (registry.plugin(plugins(name)[key]).Params, ...) for key in keys}
        sections[name] = (create_model(parent.__name__, __base__=parent, **fields), ...)
    entries: Any = _entries(tuple(source.Params for source in sources))
    species = create_model("Species", __base__=Species, sources=(entries, Field(min_length=1)))
    sections["species"] = (dict[SpeciesKey, species], Field(min_length=1))
    collect = _collect({host: limits for source in sources for host, limits in source.hosts.items()})
    sections["collect"] = (collect, collect())
    return create_model("Params", __base__=Params, **sections)


class _UnknownSource(SourceParams):
    """An entry whose `kind` no source has."""

    model_config = ConfigDict(extra="allow")

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        known = registry.load(SOURCES)
        near = registry.hint(kind, known)
        raise ValueError("; ".join(dict.fromkeys([f"known are {', '.join(known)}", near])))


def _entries(params: tuple[type[SourceParams], ...]) -> Any:
    """The type of a list of sources: each is one of these models, by its `kind`."""
    models = {model.model_fields["kind"].annotation.__args__[0]: model for model in params}  # type: ignore[union-attr]

    def tag(entry: Any) -> str:
        kind = entry.get("kind") if isinstance(entry, dict) else getattr(entry, "kind", None)
        return str(kind) if kind in models else ""

    members = [Annotated[model, Tag(kind)] for kind, model in {**models, "": _UnknownSource}.items()]
    if not models:
        return tuple[_UnknownSource, ...]
    return tuple[Annotated[Union[tuple(members)], Discriminator(tag)], ...]  # type: ignore[misc]  # noqa: UP007


def _collect(hosts: Mapping[str, Host]) -> type[Collect]:
    """`Collect` whose rate limits include those of the sources that are used."""

    class CollectWithHosts(Collect):
        default_hosts = {**Collect.default_hosts, **hosts}

    CollectWithHosts.__name__, CollectWithHosts.__doc__ = Collect.__name__, Collect.__doc__
    return CollectWithHosts


def _sentences(where: str, raw: Mapping[str, Any], error: ValidationError) -> Iterator[str]:
    items = error.errors(include_url=False)
    for item in items:
        # pydantic counts only the valid entries of a list, so one that is wrong would be reported as missing too
        within = any(other["loc"][: len(item["loc"])] == item["loc"] for other in items if other is not item)
        if item["type"] != "too_short" or not within:
            yield f"{where}: {_sentence(item, raw)}"


def _sentence(item: Any, raw: Mapping[str, Any]) -> str:
    location = list(item["loc"])
    if len(location) > SOURCE_TAG and location[0] == "species" and location[2] == "sources":
        del location[SOURCE_TAG]
    parts = [str(part) if len(str(part)) <= LONGEST_PART else f"{str(part)[:LONGEST_PART]}…" for part in location]
    key, parent = ".".join(parts), ".".join(parts[:-1])
    if item["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {registry.hint(parts[-1], _known_keys(location[:-1], raw))}"
    if item["type"] == "missing":
        return f"key {parts[-1]!r} is missing " + (f"under {parent!r}" if parent else "at the top level")
    if item["type"] == "too_short":
        return f"{key} has {item['ctx']['actual_length']} entries; it needs at least {item['ctx']['min_length']}"
    of_key = " (small letters, digits, - and _)" if key.endswith(".[key]") else ""
    return f"{key.removesuffix('.[key]')} is {shown(item['input'])}: {requirement(item)}{of_key}"


def _known_keys(location: list[Any], raw: Mapping[str, Any]) -> list[str]:
    """The keys that the section at `location` may have, plugins' sections among them."""
    model: Any = _model(raw)
    for part in location:
        fields = {(f.alias or name): f.annotation for name, f in getattr(model, "model_fields", {}).items()}
        model = {"species": Species}.get(part, fields.get(part, model))
        if isinstance(part, int):
            kind = raw["species"][location[1]]["sources"][part]["kind"]
            model = registry.plugin(registry.load(SOURCES)[kind]).Params
    own = [(f.alias or name) for name, f in getattr(model, "model_fields", {}).items()]
    return [*own, *plugins(location[0])] if len(location) == 1 else own
