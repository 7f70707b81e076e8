"""What is said of a picture: templates around its caption, and the species' name in every sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.core.prompts import CAPTION_PLACEHOLDERS, fill, whole_name
from pipeline.core.records import Subject


def sentences(caption: str, templates: Sequence[str], subject: Subject) -> tuple[str, ...]:
    """One for each template; `{caption}` alone is the caption."""
    known = {"caption": caption, "name": subject.name, "class_noun": subject.class_noun}
    return tuple(named(fill(template, CAPTION_PLACEHOLDERS, **known), subject.name) for template in templates)


def named(sentence: str, name: str) -> str:
    """The sentence with the name before it unless it is there: without it there is no word to learn."""
    return sentence if re.search(whole_name(name), sentence, re.IGNORECASE) else f"{name}, {sentence}"
