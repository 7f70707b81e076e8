"""Strict JSON: parsed within limits of size, depth and digits, without NaN and Infinity, which JSON does not have.

What comes from outside may be made to hurt: a number of a million digits, a thousand brackets. What this project has
written may be damaged. Either is a `ValueError` with the reason, which the callers make a sentence of.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 64  # lists and objects within each other
MAX_DIGITS = 40  # of a number; identifiers and measures have fewer than 20


def parse(content: bytes | str) -> Any:
    """The value of a JSON text (bytes: UTF-8).

    Raises
    ------
    ValueError
        When it is no JSON, or exceeds a limit: why, as a part of a sentence.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than the {MAX_BYTES // 2**20} MiB that are read")
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        value = json.loads(text, parse_int=_whole_number, parse_float=_number, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None
    _check_depth(value)
    return value


def _whole_number(text: str) -> int:
    _check_digits(text)
    return int(text)


def _number(text: str) -> float:
    _check_digits(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is too large")
    return number


def _check_digits(text: str) -> None:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [below for one in level for below in _below(one)]
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _below(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
