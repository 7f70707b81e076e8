"""Entries of `species:` in the text of params.yaml: put in without one other byte changing, or refused."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML

from pipeline.core import params as params_module
from pipeline.core.errors import InputError, ParamsError
from pipeline.taxonomy.entry import insert


def is_key(text: str) -> bool:
    """Whether params.yaml accepts it as the key of a species, and so as the name of folders."""
    try:
        TypeAdapter(params_module.SpeciesKey).validate_python(text)
    except ValidationError:
        return False
    return True


def read(file: Path) -> str:
    """The text with its own line ends."""
    return file.read_bytes().decode("utf-8")


def with_entry(text: str, key: str, entry: str, name: str) -> str:
    """The text with one more species; ParamsError unless it means the same as before, and this entry besides."""
    before = params_module.parse(text, "params.yaml")
    if key in before.species:
        raise InputError(f"params.yaml has a species {key!r} already ({before.species[key].name}); choose another key")
    merged = insert(text, entry)
    after = params_module.parse(merged, f"params.yaml with {key!r}")
    yaml = YAML(typ="safe")
    content, merged_content = yaml.load(text), yaml.load(merged)
    del merged_content["species"][key]
    if merged_content != content or after.species[key].name != name:
        raise ParamsError(f"the entry of {key!r} does not fit into params.yaml; add it by hand:\n{entry}")
    return merged
