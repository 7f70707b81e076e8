"""Mistakes in params.yaml in words: what a value must be, and why a text is no YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruamel.yaml.error import MarkedYAMLError, YAMLError

REQUIREMENTS = {  # pydantic's type of error -> what the value must be
    "int_type": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_type": "it must be a number",
    "float_parsing": "it must be a number",
    "bool_type": "it must be true or false",
    "bool_parsing": "it must be true or false",
    "string_type": "it must be text; quote what is meant as text",
    "string_too_short": "it must not be empty",
    "string_too_long": "it must have at most {max_length} characters",
    "string_pattern_mismatch": "it must match {pattern}",
    "tuple_type": "it must be a list, such as [a, b]",
    "dict_type": "it must be a mapping of names to values",
    "model_type": "it must be a section with keys; remove the line to use the defaults",
    "model_attributes_type": "it must be a section with keys",
    "greater_than": "it must be greater than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be at most {le}",
    "literal_error": "it must be {expected}",
}


def requirement(error: Mapping[str, Any]) -> str:
    """What the value of one of pydantic's errors must be; pydantic's own words for types that are not in the table."""
    words = REQUIREMENTS.get(error["type"])
    if words is None:
        return str(error["msg"]).removeprefix("Value error, ")
    return words.format(**error.get("ctx", {}))


def yaml_problem(error: YAMLError) -> str:
    """Why a text is no YAML, with the place, on one line."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        problem, mark = " ".join(str(error.problem).split()), error.problem_mark
        return f"{problem} (line {mark.line + 1}, column {mark.column + 1})"
    return " ".join(str(error).split())
