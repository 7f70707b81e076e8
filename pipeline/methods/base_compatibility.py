"""Base compatibility: is a snapshot one for this base model? Checked before it is loaded, and when it does not fit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from pipeline.core.errors import InputError
from pipeline.families.model_components import ModelComponents

ADVICE = "lay it over the base that it was learnt on"
LOUD = "diffusers.loaders.peft"  # lists every layer that does not fit, before the exception that says the same


def check(path: Path, components: ModelComponents) -> None:
    """Look at the header of a checkpoint's file.

    Raises
    ------
    InputError
        When the file is missing or damaged, or says that it was learnt on another family; foreign files say nothing.
    """
    name = components.family.name
    learnt_on = read(path)[0].get("family", name)
    if learnt_on != name:
        raise InputError(f"{path} was learnt on the family {learnt_on!r}, and this base is {name!r}; {ADVICE}")


def read(path: Path, *, tensors: bool = False) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """The header of a checkpoint's file, and its tensors if wanted; InputError when it is missing or damaged."""
    try:
        with safe_open(path, "pt") as opened:
            names = opened.keys() if tensors else ()
            return opened.metadata() or {}, {name: opened.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is missing or damaged ({error}); train again, or fetch it again") from error


@contextmanager
def fitting(path: Path, components: ModelComponents) -> Iterator[None]:
    """While it is open, weights are laid over a base; InputError when they are of other layers or another width."""
    loud = logging.getLogger(LOUD)
    before, loud.disabled = loud.disabled, True
    try:
        yield
    except (RuntimeError, ValueError, KeyError) as error:  # as torch, peft and diffusers say it
        detail = " ".join(str(error).split()).partition(": copying a param")[0]
        raise InputError(f"{path} does not fit the base {str(components.folder)!r} ({detail}); {ADVICE}") from error
    finally:
        loud.disabled = before
