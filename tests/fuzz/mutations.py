"""Seeded mutations of stored bytes and of JSON: what a bad disk, a changed API or an attacker makes of a body."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

LONG_NUMBER = "\0long number\0"  # put in after encoding: Python does not write such numbers
RAW = {
    LONG_NUMBER: "7" * 5000,
    "\0nan\0": "NaN",
    "\0infinity\0": "-Infinity",
    "\0huge\0": "1e999",
    "\0deep\0": "[" * 900 + "]" * 900,
}
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1e300, 10**18, 2**63, 0.1),
    *(
        "",
        " ",
        "\0",
        "\ud800",
        "x" * 3000,
        "7" * 5000,
        "txn:" + "9" * 400,
        "NaN",
        "-inf",
        "٣",
        "²",
        "[",
        "http://[",
        "//",
    ),
    *([], [[]], [None], ["a"], [{}], {}, {"": {}}, {"a": [1]}),
    *RAW,
)


def mutations(body: bytes, seed: int, n: int) -> Iterator[bytes]:
    """n changed bodies, always the same ones; half of them are still JSON where the body is."""
    rng = random.Random(seed)
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    for number in range(n):
        yield _changed_json(value, rng) if value is not None and number % 2 else changed_bytes(body, rng)


def changed_bytes(body: bytes, rng: random.Random) -> bytes:
    """Bits turned, bytes replaced, a piece lost, doubled or filled with zeros."""
    changed = bytearray(body)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.choice([1, 2, 4, 16, 64, 1000]))
        match rng.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(changed):
                changed[at] = rng.randrange(256)
            case 2:
                del changed[at:end]
            case 3:
                changed[at:at] = changed[at:end]
            case 4:
                changed[at:end] = bytes(end - at)
            case _:
                del changed[at:]
    return bytes(changed)


def _changed_json(value: Any, rng: random.Random) -> bytes:
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 2, 5])):
        value = _with_change(value, rng)
    text = json.dumps(value)
    for name, raw in RAW.items():
        text = text.replace(json.dumps(name), raw)
    return text.encode()


def _with_change(value: Any, rng: random.Random) -> Any:
    """The value with one of its members replaced, removed, renamed or repeated."""
    places = list(_places(value))
    if not places:
        return copy.deepcopy(rng.choice(VALUES))
    holder, key = rng.choice(places)
    match rng.randrange(5):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.extend(copy.deepcopy(holder[key : key + 1]) * rng.choice([1, 30]))
        case 1:
            holder[key + rng.choice("\0_Z")] = holder.pop(key)
        case 2:
            holder[key] = [holder[key]]
        case _:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])
