"""Reading what an API said without trusting its shape: every value knows where it stands in the answer."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

from pipeline.core.errors import ServiceError
from pipeline.core.records import Answer

UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
COMPLAINTS = ("error", "errors", "detail")  # keys of an answer that is none; no list of these APIs has them
TELLING = ("code", "info", "message", "userMessage")  # its parts, where it is an object
LONGEST_COMPLAINT = 300  # characters


class ChangedAnswer(ServiceError):
    """An answer is not built as its API's documentation and earlier answers say."""


@dataclass(frozen=True)
class Reading:
    """A value of an answer and its place there, such as `results[3].media`. Absent and null are the same.

    `evidence` is the sha256 of the answer.
    """

    value: Any
    host: str
    path: str = ""
    evidence: str = ""

    def object(self, *keys: str | int) -> Reading:
        """The object below `keys`; {} when absent. PHP writes an empty object as []."""
        found = self._below(keys)
        if found.value in (None, []):
            return replace(found, value={})
        return found if isinstance(found.value, dict) else found._refuse("an object")

    def items(self, *keys: str | int) -> list[Reading]:
        """The members of the list below `keys`; none when absent."""
        found = self._below(keys)
        if found.value is None:
            return []
        if not isinstance(found.value, list):
            found._refuse("a list")
        return [replace(found, value=value, path=f"{found.path}[{i}]") for i, value in enumerate(found.value)]

    def listed(self, key: str) -> list[Reading]:
        """The members of a list that must be there."""
        if self.value.get(key) is None:
            self._lacks(key)
        return self.items(key)

    def needed(self, key: str) -> str:
        """A text, or a number as text, that must be there."""
        return self.text(key) or self._lacks(key)

    def text(self, *keys: str | int) -> str:
        """The text below `keys` on one line, a number as text; empty when absent."""
        found = self._below(keys)
        if found.value is None:
            return ""
        if isinstance(found.value, bool) or not isinstance(found.value, str | int | float):
            found._refuse("a text")
        return clean(str(found.value))

    def number(self, *keys: str | int) -> int | None:
        """The whole number below `keys`, written as such or as text; None when absent."""
        found = self._below(keys)
        if found.value is None:
            return None
        if isinstance(found.value, bool) or not re.fullmatch(r"-?\d{1,15}", str(found.value)):
            found._refuse("a whole number")
        return int(found.value)

    def truth(self, *keys: str | int) -> bool:
        """Whether the value below `keys` is true; absent is not."""
        found = self._below(keys)
        return found.value if isinstance(found.value, bool) else bool(found.value and found._refuse("true or false"))

    def address(self, *keys: str | int) -> str:
        """The web address below `keys`; empty when absent or not of the web."""
        return web_address(self.text(*keys), "https:")

    def _below(self, keys: tuple[str | int, ...]) -> Reading:
        here = self
        for key in keys:
            if here.value not in (None, []) and not isinstance(here.value, dict):
                here._refuse("an object")
            path = f"{here.path}.{key}" if here.path else str(key)
            here = replace(here, value=here.value.get(key) if here.value else None, path=path)
        return here

    def _lacks(self, key: str) -> Any:
        raise ChangedAnswer(f"the answer of {self.host} has changed: {self.path or 'it'} has no {key!r}")

    def _refuse(self, wanted: str) -> Any:
        kind = type(self.value).__name__
        raise ChangedAnswer(
            f"the answer of {self.host} has changed: {self.path or 'it'} should be {wanted}, not a {kind}"
        )


def opened(answer: Answer, host: str) -> Reading:
    """The object that an API answered.

    Raises
    ------
    ServiceError
        When it holds an error in spite of its status 200, or is no object.
    """
    reading = Reading(answer.value, host, evidence=answer.sha256)
    if not isinstance(answer.value, dict):
        reading._refuse("an object")
    complaint = next((answer.value[key] for key in COMPLAINTS if answer.value.get(key)), None)
    if complaint is not None:
        raise ServiceError(f"{host} answers with an error: {_complaint(complaint)}")
    return reading


def clean(text: str) -> str:
    """On one line, composed (NFC), without control characters or halves of surrogate pairs."""
    return " ".join(unicodedata.normalize("NFC", UNSEEN.sub(" ", text)).split())


def web_address(text: str, base: str = "") -> str:
    """An http(s) address, completed where it lacks a scheme or host; empty when it is something else."""
    try:
        parts = urlsplit(urljoin(base, text)) if text else None
        return parts.geturl() if parts and parts.scheme in ("http", "https") and parts.hostname else ""
    except ValueError:  # brackets that are no IPv6 address
        return ""


def _complaint(said: Any) -> str:
    """`maxlag: Waiting for a database` of MediaWiki's {code, info}; of anything else the text that it has."""
    said = said[0] if isinstance(said, list) and said else said
    if isinstance(said, dict):
        said = ": ".join(str(said[key]) for key in TELLING if said.get(key)) or said
    return clean(str(said))[:LONGEST_COMPLAINT]
