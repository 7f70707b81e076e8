"""What is learnt. A method is a module with

    SECTIONS                                  its sections of `train` in params.yaml
    SUPPORTED                                 the families that it works for
    learns_text(train)                        do text encoders change, so that sentences are encoded at every step?
    attach(parts, train, subject, seed, frozen_dtype) -> Trainable
    save(trainable, folder, dtype, stamp)     a checkpoint that diffusers loads; `stamp` goes into each file's header
    restore(parts, folder) -> Parts           the base with a checkpoint in or instead of it

and perhaps

    check(family, base, train)                ParamsError when its params do not fit a base, before that is loaded
    trigger(subject)                          the new word that calls the species in other programs; else its name
    KEEPS_BASE = True                         all other sentences mean what they meant, so a prior is never needed

The loop knows none of them.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from types import ModuleType

import torch

from pipeline.core.errors import ParamsError
from pipeline.core.params import Train
from pipeline.core.records import Subject
from pipeline.families import family
from pipeline.families.model_components import ModelComponents
from pipeline.methods import dreambooth, full, loha, lokr, lora, pivotal, textual_inversion

METHODS: dict[str, ModuleType] = {
    "dreambooth": dreambooth,
    "lora": lora,
    "lokr": lokr,
    "loha": loha,
    "textual_inversion": textual_inversion,
    "pivotal": pivotal,
    "full": full,
}


def method(name: str) -> ModuleType:
    """The method of this name; ParamsError names the nearest known one."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(METHODS)}"
        raise ParamsError(f"train.method is {name!r}, which is no method; {hint}")
    return METHODS[name]


def load(
    method_name: str, family_name: str, folder: Path, base: Path | None, device: torch.device, dtype: torch.dtype
) -> ModelComponents:
    """A checkpoint laid over its base; without a base the folder is complete by itself."""
    if base is None:
        return family(family_name).load(folder, device, dtype)
    return method(method_name).restore(family(family_name).load(base, device, dtype), folder)


def check_pair(method_name: str, family_name: str) -> None:
    """ParamsError unless this method works for this family; nothing is loaded."""
    learns = method(method_name)
    if family(family_name).NAME not in learns.SUPPORTED:
        fitting = ", ".join(name for name, module in METHODS.items() if family_name in module.SUPPORTED) or "none"
        raise ParamsError(
            f"train.method {method_name!r} does not work for base.family {family_name!r}; "
            f"of the methods these do: {fitting}"
        )


def check_fit(family_name: str, base: Path, train: Train) -> None:
    """ParamsError when the method's params do not fit a base; its weights are not loaded."""
    getattr(method(train.method), "check", lambda *_: None)(family_name, base, train)


def trigger(name: str, subject: Subject) -> str:
    """What a prompt must say to programs that only load the checkpoint; ours know the species by its name."""
    return getattr(method(name), "trigger", lambda subject: subject.name)(subject)


def keeps_base(name: str) -> bool:
    """Does this method leave everything but the species as it was, so that no prior is needed?"""
    return getattr(method(name), "KEEPS_BASE", False)


def other_sections(name: str) -> set[str]:
    """The sections of `train` that this method does not read."""
    return {section for module in METHODS.values() for section in module.SECTIONS} - set(method(name).SECTIONS)
