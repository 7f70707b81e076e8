"""Plugins by name: a registry is a dict literal from a name to `module:object`, imported when it is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from pipeline.core.errors import PaleoError, ParamsError

T = TypeVar("T")


def lookup(kind: str, name: str, known: Mapping[str, T], *, error: type[PaleoError] = ParamsError) -> T:
    """What `known` has under `name`; an error of the given type that says "did you mean" where it has nothing.

    `kind` begins the sentence: `train.method is 'lroa', which is not known; did you mean 'lora'?`
    """
    if name not in known:
        raise error(f"{kind} is {name!r}, which is not known; {hint(name, known)}")
    return known[name]


def hint(name: str, known: Iterable[str], *, cutoff: float = 0.4) -> str:
    """`did you mean 'lora'?`, or all known names where none is near; in any capitals."""
    by_folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=cutoff)
    return f"did you mean {by_folded[near[0]]!r}?" if near else f"known are {', '.join(by_folded.values()) or 'none'}"


def load(entry: str) -> Any:
    """The object that a registry's entry names, such as `pipeline.methods.lora:Lora`."""
    module, _, name = entry.partition(":")
    return getattr(import_module(module), name)


def plugin(entry: Any) -> Any:
    """A registry's value: the object itself, or imported by the name that stands there."""
    return load(entry) if isinstance(entry, str) else entry
