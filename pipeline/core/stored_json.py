"""Reading back the JSON files that this project has written: their syntax, their size and the keys that are needed.

A damaged one is an `InputError` in one sentence: the file, what is wrong with it, and how it is made anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.core import strict_json
from pipeline.core.errors import InputError

Keys = Mapping[str, type | tuple[type, ...]]  # that an object must have, with the types of their values
KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}
# The command that makes a file anew, by the folders that it lies in; {} is the species.
MADE_BY = {
    ("data", "raw"): "paleo collect {}",
    ("data", "curated"): "paleo curate {}",
    ("reports", "curation"): "paleo curate {}",
    ("reports", "validation"): "paleo validate {}",
    ("models",): "paleo train {}",
    ("samples",): "paleo sample {}",
    ("reports", "evaluation"): "paleo evaluate {}",
    ("site",): "paleo gallery",
}


def read(path: Path, keys: Keys | None = None) -> Any:
    """The parsed file, an object with these keys where they are given.

    Raises
    ------
    InputError
        When it is missing, unreadable, damaged, too large, or lacks a key or has it with another type.
    """
    try:
        if path.stat().st_size > strict_json.MAX_BYTES:
            raise ValueError(f"it has more than {strict_json.MAX_BYTES // 2**20} MiB")
        value = strict_json.parse(path.read_bytes())
        _check(value, keys)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run the stage that writes it (`paleo plan` shows which)") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {remedy(path)}") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({_short(error)}); {remedy(path)}") from None
    return value


def remedy(path: Path) -> str:
    """How a damaged file of this project is made anew, as a part of a sentence."""
    parts = path.absolute().parts
    for folders, command in MADE_BY.items():
        for at in range(len(parts) - len(folders)):
            if parts[at : at + len(folders)] == folders and ".work" not in parts:
                species = parts[at + len(folders)].partition(".")[0]
                return f"delete it and run `{command.format(species)}`, or restore it with `dvc checkout --force`"
    return "delete it and run the command again"


def _check(value: Any, keys: Keys | None) -> None:
    if keys is None:
        return
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__} instead of an object")
    for key, kind in keys.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if key not in value:
            raise ValueError(f"it has no {key!r}")
        if not isinstance(value[key], kinds) or (isinstance(value[key], bool) and bool not in kinds):
            wanted = " or ".join(KINDS[one] for one in kinds)
            raise ValueError(f"{key!r} is a {type(value[key]).__name__}, not {wanted}")


def _short(error: ValueError) -> str:
    return " ".join(str(error).split())[:160]
