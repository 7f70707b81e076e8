"""The command that draws a sample again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def generate_command(species: str, row: Mapping[str, Any], *, chosen: bool) -> str:
    """`paleo generate …` for a row of samples.parquet, quoted for a POSIX shell.

    Every setting that decides the picture is written, so params.yaml may have changed since. Without `--step` the
    champion draws, which is the chosen step; any other snapshot is named. Empty for the base model: `paleo generate`
    draws with trained checkpoints only.
    """
    if not row["step"]:
        return ""
    options = {
        "--seed": row["seed"],
        "--steps": row["steps"],
        "--guidance": _shortest(row["guidance_scale"]),
        "--sampler": row["sampler"],
        "--width": row["width_px"],
        "--height": row["height_px"],
        **({"--negative-prompt": row["negative_prompt"]} if row["negative_prompt"] else {}),
        **({} if chosen else {"--step": row["step"]}),
    }
    words = [str(word) for option in options.items() for word in option]
    return shlex.join(["paleo", "generate", species, row["prompt"], *words])


def _shortest(number: float) -> str:
    """The shortest text that is read as the same number: 3.0 -> 3."""
    short = f"{number:g}"
    return short if float(short) == number else repr(float(number))
