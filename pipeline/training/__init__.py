"""What is learnt. A method is a module with

    SECTIONS                                  its sections of `train` in params.yaml
    SUPPORTED                                 the families that it works for
    learns_text(train)                        do text encoders change, so that sentences are encoded at every step?
    attach(parts, train, subject, seed, frozen_dtype) -> Trainable
    save(trainable, folder, dtype, stamp)     a checkpoint that diffusers loads; `stamp` goes into each file's header
    restore(parts, folder) -> Parts           the base with a checkpoint in or instead of it

and the loop knows none of them.
"""

from __future__ import annotations

import difflib
from types import ModuleType

from pipeline.core.errors import ParamsError
from pipeline.families import family
from pipeline.training import dreambooth, lora

METHODS: dict[str, ModuleType] = {"dreambooth": dreambooth, "lora": lora}


def method(name: str) -> ModuleType:
    """The method of this name; ParamsError names the nearest known one."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(METHODS)}"
        raise ParamsError(f"train.method is {name!r}, which is no method; {hint}")
    return METHODS[name]


def check_pair(method_name: str, family_name: str) -> None:
    """ParamsError unless this method works for this family; nothing is loaded."""
    learns = method(method_name)
    if family(family_name).NAME not in learns.SUPPORTED:
        fitting = ", ".join(name for name, module in METHODS.items() if family_name in module.SUPPORTED) or "none"
        raise ParamsError(f"train.method {method_name!r} does not work for base.family {family_name!r}; "
                          f"of the methods these do: {fitting}")  # fmt: skip


def other_sections(name: str) -> set[str]:
    """The sections of `train` that this method does not read."""
    return {section for module in METHODS.values() for section in module.SECTIONS} - set(method(name).SECTIONS)
