"""Captions of training pictures: templates around them, and the species' name in every sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.core.prompts import CAPTION_PLACEHOLDERS, fill, whole_name
from pipeline.core.records import Subject


def fill_templates(caption: str, templates: Sequence[str], subject: Subject) -> tuple[str, ...]:
    """One sentence for each template; `{caption}` alone is the caption."""
    values = {"caption": caption, "name": subject.name, "class_noun": subject.class_noun}
    return tuple(with_name(fill(template, CAPTION_PLACEHOLDERS, **values), subject.name) for template in templates)


def with_name(sentence: str, name: str) -> str:
    """The sentence, with the name before it unless it is in it: training ties the pictures to the name."""
    return sentence if re.search(whole_name(name), sentence, re.IGNORECASE) else f"{name}, {sentence}"
