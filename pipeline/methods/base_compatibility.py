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

ADVICE = "load it with the base that it was trained on"
NOISY_LOGGER = "diffusers.loaders.peft"  # lists every layer that does not fit, before it raises an exception


def check(path: Path, components: ModelComponents) -> None:
    """Check the header of a checkpoint's file.

    Raises
    ------
    InputError
        When the file is missing or damaged, or its header names another family; other programs write no family.
    """
    name = components.family.name
    trained_on = read(path)[0].get("family", name)
    if trained_on != name:
        raise InputError(f"{path} was trained on the family {trained_on!r}, and this base is {name!r}; {ADVICE}")


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
    """While it is open, weights are loaded into a base; InputError when they are of other layers or another width."""
    logger = logging.getLogger(NOISY_LOGGER)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    except (RuntimeError, ValueError, KeyError) as error:  # as torch, peft and diffusers raise it
        detail = " ".join(str(error).split()).partition(": copying a param")[0]
        raise InputError(f"{path} does not fit the base {str(components.folder)!r} ({detail}); {ADVICE}") from error
    finally:
        logger.disabled = before
