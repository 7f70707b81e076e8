"""Text of unknown origin in Markdown."""

from __future__ import annotations

import re

SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#|~&])")  # within a line; others mean something at its beginning only


def plain(text: str) -> str:
    """As plain words, on one line."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """For code on one line, between backticks or in a fenced block."""
    return " ".join(text.replace("`", "'").split())
