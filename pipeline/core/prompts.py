"""Templates of sentences: `a painting of {name}`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

PLACEHOLDERS = ("name", "class_noun")
CAPTION_PLACEHOLDERS = ("caption", *PLACEHOLDERS)


def fill(template: str, known: Iterable[str], **values: str) -> str:
    """The template with its placeholders replaced; ValueError names one that is not `known`."""
    try:
        return template.format(**values)
    except (KeyError, IndexError, ValueError) as error:
        names = ", ".join(f"{{{name}}}" for name in known)
        raise ValueError(f"the prompt {template!r} has an unknown placeholder ({error}); known are {names}") from None


def fill_prompt(template: str, **values: str) -> str:
    """Put the species' words into a prompt template; ValueError names an unknown placeholder."""
    return fill(template, PLACEHOLDERS, **values)


def whole_name(name: str) -> str:
    """A regular expression, for any capitals, of a name that stands by itself: not that of `names` or `surname`."""
    spaced = r"\s+".join(map(re.escape, name.split()))
    return rf"(?<!\w){spaced}(?!\w)"


def _known_placeholders(template: str) -> str:
    fill_prompt(template, **dict.fromkeys(PLACEHOLDERS, ""))
    return template


Template = Annotated[str, AfterValidator(_known_placeholders)]
