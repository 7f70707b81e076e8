"""Export formats: weights under the names that other programs read them by (kohya, diffusers, single-file).

Tensors in, tensors out: files are read and written by the command. What is exported of a method in which format, its
plugin says (`Method.formats`):

    method              kohya                     diffusers               single-file
    lora                one file of adapters      the snapshot's file     merged into the base
    lokr, loha          one file of adapters      merged, a folder        merged into the base
    dreambooth, full    -                         the snapshot's folder   one checkpoint
    textual_inversion   one file of embeddings    the snapshot's files    -
    pivotal             adapters and embeddings   the snapshot's files    -
"""

from __future__ import annotations

from typing import cast

from pipeline.core.errors import InputError
from pipeline.core.registry import lookup
from pipeline.methods.method import Artefact, Format, Method

# A format, and why something cannot be written in it.
FORMATS: dict[str, str] = {
    "kohya": "learns every weight, and files in kohya's format hold adapters",
    "diffusers": "learns what diffusers has no file for",
    "single-file": "learns new words, which a checkpoint has no place for",
}


def artefacts(method: Method, format: str) -> tuple[Artefact, ...]:
    """What is written of this method in this format; InputError names a format that fits."""
    reason = lookup("--format", format, FORMATS, error=InputError)
    found = method.formats.get(cast(Format, format), ())
    if not found:
        fitting = " or ".join(f"--format {name}" for name in method.formats if name != "diffusers")
        raise InputError(f"{method.name} {reason}; take {fitting or '--format diffusers'}")
    return found
