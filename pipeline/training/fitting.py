"""A checkpoint that does not fit the base below it is one sentence, whatever the libraries would make of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from pipeline.core.errors import InputError
from pipeline.families.parts import Parts

LOUD = "diffusers.loaders.peft"  # tells every layer that does not fit, before the exception that says the same
LAY = "lay it over the base that it was learnt on"


@contextmanager
def laid_over(parts: Parts, path: Path) -> Iterator[None]:
    """While it is open, the adapters of the file `path` are put into the parts.

    Raises
    ------
    InputError
        When the file is missing or damaged, of another family, or its layers are not those of the parts.
    """
    header, _ = read(path)
    if (family := header.get("family", parts.family)) != parts.family:
        raise InputError(f"{path} was learnt on a base of the family {family!r}, not {parts.family!r}; {LAY}")
    loud = logging.getLogger(LOUD)
    before, loud.disabled = loud.disabled, True
    try:
        yield
    except (RuntimeError, ValueError, KeyError) as error:
        detail = " ".join(str(error).split())[:160]
        raise InputError(f"{path} does not fit {str(parts.folder)!r} ({detail} …); {LAY}") from error
    finally:
        loud.disabled = before


def read(path: Path, *, tensors: bool = False) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """The header of a checkpoint's file, and its tensors if wanted; InputError when it is missing or damaged."""
    try:
        with safe_open(path, "pt") as opened:
            names = opened.keys() if tensors else ()
            return opened.metadata() or {}, {name: opened.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise InputError(f"{path} is missing; train again, or fetch the checkpoint again") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is damaged ({error}); train again, or fetch the checkpoint again") from error
