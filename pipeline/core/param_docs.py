"""Params as YAML with their documentation as comments, and which of them are written in params.yaml."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from pipeline.core import params as params_module
from pipeline.core import registry
from pipeline.core.param_types import Section
from pipeline.core.params import Params

WIDTH = 100  # columns of documentation and of values in one line
MARK_COLUMN = 40
NO_DEFAULT: Any = object()
# A section's key that chooses one plugin, which says in `sections` what it reads. Elsewhere all plugins are used.
CHOSEN_BY = {"train": "method"}


@dataclass(frozen=True)
class Param:
    """One key with what is known of it; `children` are the keys of a section, of a list of sections, or none."""

    path: str
    name: str
    value: Any
    default: Any
    written: bool
    doc: str
    children: tuple[Param, ...] = ()

    @property
    def mark(self) -> str:
        """`default`, or `written` with the default where that is another value."""
        if not self.written:
            return "default"
        if self.default is NO_DEFAULT:
            return "written"
        if self.default == self.value:
            return "written (the default)"
        text = flow(self.default)
        return f"written (default: {text})" if len(text) <= MARK_COLUMN else "written (not the default)"


def tree(params: Params, raw: Mapping[str, Any], plugins: Collection[str] = ()) -> list[Param]:
    """All params in order, with the sections of the plugins that are used, and of further `plugins` by their names.

    `raw` is params.yaml as it is written.
    """
    return [*_children(params, NO_DEFAULT, raw, "", plugins)]


def walk(params: Collection[Param]) -> Iterator[Param]:
    """The params and all below them."""
    for param in params:
        yield param
        yield from walk(param.children)


def known_keys(params: Params, raw: Mapping[str, Any], key: str) -> dict[str, Param]:
    """All params by their dotted paths, with the plugin's section that `key` begins with."""
    return {param.path: param for param in walk(tree(params, raw, key.split(".")[1:2]))}


def plugin_paths() -> list[str]:
    """The sections of all plugins, such as `train.lora`."""
    return [f"{section}.{name}" for section in params_module.PLUGIN_SECTIONS for name in params_module.plugins(section)]


def static_keys(model: type[Section], parent: str = "") -> dict[str, str]:
    """The dotted keys that are the same in every project, without species and plugins, and their documentation."""
    keys: dict[str, str] = {}
    for name, field in model.model_fields.items():
        key = parent + (field.alias or name)
        keys[key] = " ".join((field.description or "").split())
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            keys |= static_keys(field.annotation, f"{key}.")
    return keys


def as_yaml(params: Collection[Param]) -> str:
    """The params as YAML: documentation above each key once, and behind its value whether it is written."""
    documented: set[str] = set()
    blocks = ["\n".join(_lines(param, 0, documented)) for param in params]
    return "\n\n".join(blocks) + "\n"


def _children(section: Section, default: Any, raw: Any, path: str, plugins: Collection[str]) -> Iterator[Param]:
    for name, field in type(section).model_fields.items():
        key = field.alias or name
        inherited = getattr(default, name, NO_DEFAULT) if isinstance(default, Section) else NO_DEFAULT
        if inherited is NO_DEFAULT and not field.is_required():
            inherited = field.get_default(call_default_factory=True)
        yield _param(key, getattr(section, name), inherited, raw, path, field, plugins)
    for name, unwritten in _other_plugins(section, path, plugins):
        yield _param(name, unwritten, unwritten, raw, path, None, plugins)


def _other_plugins(section: Section, parent: str, names: Collection[str]) -> Iterator[tuple[str, Section]]:
    """The plugins' sections of `parent` that are not written, with their defaults: of those used or named."""
    known = params_module.plugins(parent) if parent else {}
    used = set(known)
    if parent in CHOSEN_BY:
        key = CHOSEN_BY[parent]
        used = set(registry.plugin(registry.lookup(f"{parent}.{key}", getattr(section, key), known))().sections)
    for name, entry in known.items():
        if name not in type(section).model_fields and name in used.union(names):
            own = registry.plugin(entry).Params()
            if type(own).model_fields:  # a plugin may have no params
                yield name, own


def _param(
    key: str, value: Any, default: Any, raw: Any, parent: str, field: FieldInfo | None, plugins: Collection[str]
) -> Param:
    path = f"{parent}.{key}" if parent else key
    below, written = _written(raw, key)
    children: tuple[Param, ...] = ()
    if isinstance(value, Section):
        children = tuple(_children(value, default, below, path, plugins))
    elif isinstance(value, dict) and value and all(isinstance(item, Section) for item in value.values()):
        defaults = default if isinstance(default, dict) else {}
        items = value.items()
        children = tuple(_param(k, v, defaults.get(k, NO_DEFAULT), below, path, None, plugins) for k, v in items)
    elif isinstance(value, tuple) and value and all(isinstance(item, Section) for item in value):
        rows = enumerate(value)
        children = tuple(_param(str(n), v, NO_DEFAULT, below, path, None, plugins) for n, v in rows)
    return Param(path, key, _plain(value), _plain(default), written, _doc(value, field), children)


def _written(raw: Any, key: str) -> tuple[Any, bool]:
    """What stands under a key of the written params, and whether it is there."""
    if isinstance(raw, Mapping) and key in raw:
        return raw[key], True
    if isinstance(raw, list) and key.isdigit() and int(key) < len(raw):
        return raw[int(key)], True
    return None, False


def _doc(value: Any, field: FieldInfo | None) -> str:
    """The documentation of the field, else of the section that stands there, and the values of a choice."""
    text = (field.description or "") if field else ""
    if not text and isinstance(value, Section):
        own = (kind.__doc__ for kind in type(value).__mro__ if kind.__name__ == type(value).__name__)
        text = inspect.cleandoc(next(filter(None, own), "")).split("\n\n")[0]
    choices = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    one_of = f"One of: {', '.join(map(str, choices))}." if len(choices) > 1 else ""
    return " ".join([*text.split(), *one_of.split()])


def _plain(value: Any) -> Any:
    """Values as YAML has them: lists for tuples, mappings for sections."""
    if isinstance(value, Section):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _lines(param: Param, indent: int, documented: set[str], dash: str = "") -> Iterator[str]:
    pad = " " * indent
    yield from _comment(param, pad, documented)
    head = f"{pad}{dash}{flow(param.name)}:"
    if param.children:
        yield head
        in_list = param.children[0].name == "0"
        for child in param.children:
            yield from _item(child, indent + 2, documented) if in_list else _lines(child, indent + 2, documented)
        return
    text = f"{head} {flow(param.value)}"
    if len(text) <= WIDTH:
        yield f"{text:<{MARK_COLUMN}}  # {param.mark}"
        return
    yield f"{head:<{MARK_COLUMN}}  # {param.mark}"
    yield from textwrap.indent(block(param.value), pad + "  ").splitlines()


def _item(param: Param, indent: int, documented: set[str]) -> Iterator[str]:
    """An item of a list of sections: its keys behind one dash."""
    yield from _comment(param, " " * indent, documented)
    lines = [line for child in param.children for line in _lines(child, indent + 2, documented)]
    first = next(n for n, line in enumerate(lines) if not line.lstrip().startswith("#"))
    yield from (f"{line[2:]}" for line in lines[:first])
    yield f"{lines[first][:indent]}- {lines[first][indent + 2 :]}"
    yield from lines[first + 1 :]


def _comment(param: Param, pad: str, documented: set[str]) -> Iterator[str]:
    """The documentation, where it was not printed before (for another species)."""
    if param.doc and param.doc not in documented:
        documented.add(param.doc)
        yield from textwrap.wrap(param.doc, WIDTH, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# ")


def flow(value: Any) -> str:
    """A value on one line of YAML."""
    return _dumped(value, True)


def block(value: Any) -> str:
    """A value on several lines of YAML."""
    return _dumped(value, False)


def _dumped(value: Any, in_one_line: bool) -> str:
    yaml, text = YAML(), StringIO()
    yaml.default_flow_style, yaml.width = in_one_line, 10**6
    yaml.dump(value, text)
    return text.getvalue().removesuffix("...\n").strip("\n")
