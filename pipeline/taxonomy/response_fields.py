"""Typed fields of an API response: a field of another type is a ServiceError that names it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from pipeline.core.errors import ServiceError

IDENTIFIER = re.compile(r"(?:(?:txn|var):)?([0-9]{1,15})")
SHOWN = 60  # characters of an unexpected value in a message


def text(record: Mapping[str, Any], authority: str, *names: str) -> str:
    """The first of the fields `names` that is there, on one line; "" when none is."""
    name, value = _first(record, names)
    if value is None:
        return ""
    if not isinstance(value, str):
        _unexpected(authority, name, value, "a text")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in value).split())


def number(record: Mapping[str, Any], authority: str, *names: str) -> float | None:
    """A number, also one that was written as text; None when absent."""
    name, value = _first(record, names)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        _unexpected(authority, name, value, "a number")
    try:
        found = float(value)
    except (ValueError, OverflowError):
        found = math.nan
    return found if math.isfinite(found) else _unexpected(authority, name, value, "a number")


def identifier(record: Mapping[str, Any], authority: str, *names: str) -> int | None:
    """An id: 438190, "438190" and "txn:438190" are the same; None when absent."""
    name, value = _first(record, names)
    if value is None:
        return None
    written = shown(value) if isinstance(value, bool) or not isinstance(value, int | str) else _digits(value)
    if not (found := IDENTIFIER.fullmatch(written)):
        _unexpected(authority, name, value, "an id")
    return int(found[1])


def required_items(response: Any, authority: str, name: str) -> tuple[Mapping[str, Any], ...]:
    """The list of objects that a response is for; one without it is an error, whatever its status was."""
    if name not in as_object(response, authority):
        error = next((response[key] for key in ("errors", "error", "message") if response.get(key)), None)
        content = f"with an error: {shown(error)}" if error else f"without {name!r}"
        raise ServiceError(f"{authority} responded {content}")
    return items(response, authority, name)


def items(record: Mapping[str, Any], authority: str, name: str) -> tuple[Mapping[str, Any], ...]:
    """A list of objects; () when absent."""
    value = record.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        _unexpected(authority, name, value, "a list of objects")
    return tuple(value)


def as_object(value: Any, authority: str, name: str = "response") -> Mapping[str, Any]:
    """The value, which must be an object."""
    if not isinstance(value, dict):
        _unexpected(authority, name, value, "an object")
    return value


def _first(record: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Any]:
    return next(((name, record[name]) for name in names if record.get(name) is not None), (names[0], None))


def shown(value: Any) -> str:
    """A value of a response in a message; of a long one its beginning."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists in lists
        return f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _digits(value: int | str) -> str:
    return str(value) if isinstance(value, str) or abs(value) < 10**15 else ""


def _unexpected(authority: str, name: str, value: Any, expected: str) -> NoReturn:
    raise ServiceError(
        f"{authority} responded with {name!r} = {shown(value)}, which is not {expected}; its responses have changed"
    )
