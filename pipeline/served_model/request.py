"""A request to the served model: what may be sent, how much of it, and the pictures that it means."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any

import pandas as pd

from pipeline.core.errors import InputError
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import SampleSpec
from pipeline.registry.model_config import NAMES_OF_0_1, SAMPLER_SETTINGS

KNOWN = ("seed", *SAMPLER_SETTINGS)
TEXTS = ("sampler", "negative_prompt")
# The smallest value, and the largest unless the version itself was registered with a larger one: a server must not be
# kept busy for hours by one request.
LIMITS: dict[str, tuple[int, int]] = {
    "seed": (0, 2**63 - 1),
    "steps": (1, 500),
    "guidance_scale": (1, 100),
    "width_px": (8, 2048),
    "height_px": (8, 2048),
}
MOST_PICTURES = 256
MOST_CHARACTERS = 2000


def under_known_names(params: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The params under the names that a version's signature has, whether those are today's or 0.1.0's.

    Raises
    ------
    InputError
        For a param that is not known.
    """
    other_names = NAMES_OF_0_1 | {new: old for old, new in NAMES_OF_0_1.items()}
    named = {name if name in known else other_names.get(name, name): value for name, value in params.items()}
    for name in named:
        if name not in known:
            raise InputError(f"there is no param {name!r}; known are {', '.join(known)}")
    return named


def sample_specs(
    frame: pd.DataFrame, params: Mapping[str, Any] | None, stored: SampleSpec, words: Mapping[str, str]
) -> list[SampleSpec]:
    """One spec for each row, with the version's settings where `params` has no other.

    A row without a seed takes `params["seed"]` (1) plus its place, as `paleo generate -n` does.

    Raises
    ------
    InputError
        For a param that is unknown or no number, and for what is beyond `LIMITS`, MOST_PICTURES or MOST_CHARACTERS.
    """
    settings = under_known_names(params or {}, KNOWN)
    first_seed = settings.pop("seed", 1)
    common = replace(stored, **settings)
    for name in TEXTS:
        _check_text(name, getattr(common, name))
    for name in LIMITS:
        _check_number(name, first_seed if name == "seed" else getattr(common, name), getattr(stored, name))
    requested = list(rows(frame))
    if len(requested) > MOST_PICTURES:
        raise InputError(f"{len(requested)} pictures are more than {MOST_PICTURES} in one request; send several")
    return [_row_spec(common, words, *row, int(first_seed) + n) for n, row in enumerate(requested)]


def _row_spec(
    common: SampleSpec, words: Mapping[str, str], prompt: str, seed: int | None, default_seed: int
) -> SampleSpec:
    """One row's spec; a sampler's name is checked where it is looked up."""
    _check_text("prompt", prompt)
    number = default_seed if seed is None else seed
    _check_number("seed", number, 0)
    try:
        return replace(common, prompt=fill_prompt(prompt, **words), seed=number)
    except ValueError as error:
        raise InputError(str(error)) from None


def _check_text(name: str, text: Any) -> None:
    if not isinstance(text, str):
        raise InputError(f"{name} is {text!r}, which is no text")
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"{name} has {len(text)} characters; it may have {MOST_CHARACTERS}")


def _check_number(name: str, value: Any, stored: float) -> None:
    least, most = LIMITS[name][0], max(LIMITS[name][1], stored)
    kinds: tuple[type, ...] = (Integral, float) if name == "guidance_scale" else (Integral,)
    if isinstance(value, bool) or not any(isinstance(value, kind) for kind in kinds):
        raise InputError(f"{name} is {value!r}, which is no {'' if float in kinds else 'whole '}number")
    if not value >= least:
        raise InputError(f"{name} is {value}; it must be {least} or more")
    if not value <= most:
        raise InputError(f"{name} is {value}; it may be {most} at most")


def rows(frame: pd.DataFrame) -> Iterator[tuple[Any, int | None]]:
    """Prompt and seed of each row; MLflow makes one row with lists of {"prompt": [a, b]}, which is taken apart."""
    lists = [name for name in ("prompt", "seed") if name in frame and frame[name].map(pd.api.types.is_list_like).any()]
    try:
        frame = frame.explode(lists) if lists else frame
    except ValueError:
        raise InputError("there must be as many seeds as prompts, or none") from None
    seeds = frame["seed"] if "seed" in frame else [None] * len(frame)
    for prompt, seed in zip(frame["prompt"], seeds, strict=True):
        if not isinstance(prompt, str):
            raise InputError("every row needs a prompt, which is text")
        yield prompt, None if pd.isna(seed) else int(seed)
