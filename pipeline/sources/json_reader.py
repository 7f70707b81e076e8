"""JSON reader: typed access to the response of a web API, whose shape may have changed.

Every value carries its path in the response, so that an error names the place.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

from pipeline.core.errors import ServiceError
from pipeline.core.records import ApiResponse

INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
ERROR_KEYS = ("error", "errors", "detail")  # keys of a response that is an error; no list of these APIs has them
ERROR_PARTS = ("code", "info", "message", "userMessage")  # the parts of an error, where it is an object
LONGEST_ERROR = 300  # characters


class ChangedResponse(ServiceError):
    """A response is not built as its API's documentation and earlier responses are."""


@dataclass(frozen=True)
class JsonValue:
    """A value of a response and its path there, such as `results[3].media`. Absent and null are the same.

    `evidence` is the sha256 of the response.
    """

    value: Any
    host: str
    path: str = ""
    evidence: str = ""

    def object(self, *keys: str | int) -> JsonValue:
        """The object below `keys`; {} when absent. PHP writes an empty object as []."""
        found = self._below(keys)
        if found.value in (None, []):
            return replace(found, value={})
        return found if isinstance(found.value, dict) else found._wrong_type("an object")

    def items(self, *keys: str | int) -> list[JsonValue]:
        """The members of the list below `keys`; none when absent."""
        found = self._below(keys)
        if found.value is None:
            return []
        if not isinstance(found.value, list):
            found._wrong_type("a list")
        return [replace(found, value=value, path=f"{found.path}[{i}]") for i, value in enumerate(found.value)]

    def required_items(self, key: str) -> list[JsonValue]:
        """The members of a list that must be there."""
        if self.value.get(key) is None:
            self._missing(key)
        return self.items(key)

    def required_text(self, key: str) -> str:
        """A text, or a number as text, that must be there."""
        return self.text(key) or self._missing(key)

    def text(self, *keys: str | int) -> str:
        """The text below `keys` on one line, a number as text; empty when absent."""
        found = self._below(keys)
        if found.value is None:
            return ""
        if isinstance(found.value, bool) or not isinstance(found.value, str | int | float):
            found._wrong_type("a text")
        return clean(str(found.value))

    def number(self, *keys: str | int) -> int | None:
        """The whole number below `keys`, written as such or as text; None when absent."""
        found = self._below(keys)
        if found.value is None:
            return None
        if isinstance(found.value, bool) or not re.fullmatch(r"-?\d{1,15}", str(found.value)):
            found._wrong_type("a whole number")
        return int(found.value)

    def boolean(self, *keys: str | int) -> bool:
        """Whether the value below `keys` is true; absent is not."""
        found = self._below(keys)
        return (
            found.value if isinstance(found.value, bool) else bool(found.value and found._wrong_type("true or false"))
        )

    def address(self, *keys: str | int) -> str:
        """The web address below `keys`; empty when absent or not of the web."""
        return web_address(self.text(*keys), "https:")

    def _below(self, keys: tuple[str | int, ...]) -> JsonValue:
        here = self
        for key in keys:
            if here.value not in (None, []) and not isinstance(here.value, dict):
                here._wrong_type("an object")
            path = f"{here.path}.{key}" if here.path else str(key)
            here = replace(here, value=here.value.get(key) if here.value else None, path=path)
        return here

    def _missing(self, key: str) -> Any:
        raise ChangedResponse(f"the response of {self.host} has changed: {self.path or 'it'} has no {key!r}")

    def _wrong_type(self, wanted: str) -> Any:
        kind = type(self.value).__name__
        raise ChangedResponse(
            f"the response of {self.host} has changed: {self.path or 'it'} should be {wanted}, not a {kind}"
        )


def read_object(response: ApiResponse, host: str) -> JsonValue:
    """The object that an API sent.

    Raises
    ------
    ServiceError
        When it holds an error in spite of its status 200, or is no object.
    """
    content = JsonValue(response.value, host, evidence=response.sha256)
    if not isinstance(response.value, dict):
        content._wrong_type("an object")
    error = next((response.value[key] for key in ERROR_KEYS if response.value.get(key)), None)
    if error is not None:
        raise ServiceError(f"{host} responded with an error: {_error_text(error)}")
    return content


def clean(text: str) -> str:
    """On one line, composed (NFC), without control characters or halves of surrogate pairs."""
    return " ".join(unicodedata.normalize("NFC", INVISIBLE.sub(" ", text)).split())


def web_address(text: str, base: str = "") -> str:
    """An http(s) address, completed where it lacks a scheme or host; empty when it is something else."""
    try:
        parts = urlsplit(urljoin(base, text)) if text else None
        return parts.geturl() if parts and parts.scheme in ("http", "https") and parts.hostname else ""
    except ValueError:  # brackets that are no IPv6 address
        return ""


def _error_text(error: Any) -> str:
    """`maxlag: Waiting for a database` of MediaWiki's {code, info}; of anything else its text."""
    error = error[0] if isinstance(error, list) and error else error
    if isinstance(error, dict):
        error = ": ".join(str(error[key]) for key in ERROR_PARTS if error.get(key)) or error
    return clean(str(error))[:LONGEST_ERROR]
