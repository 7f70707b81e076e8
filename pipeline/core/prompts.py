"""Templates of sentences: `a painting of {name}`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

PLACEHOLDERS = ("name", "class_noun")
CAPTION_PLACEHOLDERS = ("caption", *PLACEHOLDERS)
TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
BRACES = ("{{", "}}")


def fill(template: str, known: Iterable[str], **values: str) -> str:
    """The template with its placeholders replaced by values, in which braces are braces; `{{` and `}}` are braces.

    Raises
    ------
    ValueError
        One sentence, for a placeholder that is not `known` and for a brace without its other one.
    """
    known = tuple(known)
    names = ", ".join(f"{{{name}}}" for name in known)

    def replaced(found: re.Match[str]) -> str:
        token, name = found[0], found[1]
        if token in BRACES:
            return token[0]
        if name in known:
            return values[name]
        what = f"a single {token}" if name is None else f"an unknown placeholder {token[:100]}"
        raise ValueError(f"the prompt {template[:200]!r} has {what}; known are {names}; a brace itself is {{{{ or }}}}")

    return TOKEN.sub(replaced, template)


def fill_prompt(template: str, **values: str) -> str:
    """Put the species' words into a prompt template; ValueError names what is no placeholder."""
    return fill(template, PLACEHOLDERS, **values)


def whole_name(name: str) -> str:
    """A regular expression, for any capitals, of a name that stands by itself: not that of `names` or `surname`."""
    spaced = r"\s+".join(map(re.escape, name.split()))
    return rf"(?<!\w){spaced}(?!\w)"


def _known_placeholders(template: str) -> str:
    fill_prompt(template, **dict.fromkeys(PLACEHOLDERS, ""))
    return template


Template = Annotated[str, AfterValidator(_known_placeholders)]
