"""Weights under the names that other programs read them by: kohya's, the original checkpoint's, diffusers'.

Tensors in, tensors out: files are read and written by the stage. What is exported of which method:

    method              kohya                     diffusers               single-file
    lora                one file of adapters      the snapshot's file     merged into the base
    lokr, loha          one file of adapters      merged, a folder        merged into the base
    dreambooth, full    -                         the snapshot's folder   one checkpoint
    textual_inversion   a file named as the word  the snapshot's files    -
    pivotal             adapters and the word     the snapshot's files    -
"""

from __future__ import annotations

import difflib

from pipeline.core.errors import InputError

FORMATS = ("kohya", "diffusers", "single-file")
ADAPTERS, WHOLE, WORDS = ("lora", "lokr", "loha"), ("dreambooth", "full"), ("textual_inversion", "pivotal")
REFUSED = {
    **{
        (method, "kohya"): "learns every weight, and files in kohya's format hold adapters; take --format single-file"
        for method in WHOLE
    },
    **{
        (method, "single-file"): "learns new words, which a checkpoint has no place for; take --format kohya"
        for method in WORDS
    },
}


def check(method: str, format: str) -> None:
    """InputError unless what this method learns can be written in this format; names the one that fits."""
    if format not in FORMATS:
        near = difflib.get_close_matches(format, FORMATS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(FORMATS)}"
        raise InputError(f"--format is {format!r}, which is no format; {hint}")
    if reason := REFUSED.get((method, format)):
        raise InputError(f"{method} {reason}")
