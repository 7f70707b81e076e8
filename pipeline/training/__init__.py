"""What is learnt. A method is a module with `attach`, `save` and `restore`; the loop knows none of them by name."""

from __future__ import annotations

import difflib
from types import ModuleType

from pipeline.core.errors import ParamsError
from pipeline.training import dreambooth, lora

METHODS: dict[str, ModuleType] = {"dreambooth": dreambooth, "lora": lora}


def method(name: str) -> ModuleType:
    """The method of this name; ParamsError names the nearest known one."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(METHODS)}"
        raise ParamsError(f"train.method is {name!r}, which is no method; {hint}")
    return METHODS[name]
