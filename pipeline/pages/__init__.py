"""Pages: data in, HTML text out. Nothing here reads or writes a file of the project, reads the clock or the network.

A page is a folder here: its module with its templates, styles and scripts beside it; `templates/` has what all pages
share. A file is named by its path below this folder. A page extends the base, which brings the style and a strict
content security policy, and names its own styles and scripts, which stand inside the finished page:

    {% extends "templates/base.html" %}
    {% set styles = ["contact_sheet/contact_sheet.css"] %}
    {% set scripts = ["gallery/copy.js"] %}
    {% block title %}…{% endblock %}
    {% block main %}…{% endblock %}

Only those scripts may run (the policy names their digests), so no string from outside can become code.
The pages of the site that the stage `gallery` writes are listed in `pipeline.pages.gallery`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent


def render(template: str, **context: Any) -> str:
    """Fill a template, such as `review/review.html`: every value is escaped, a name that is not given is an error."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(inline=inline, script_digests=script_digests, counted=counted)
    environment.filters["percent"] = percent
    return environment.get_template(template).render(**context)


def inline(name: str) -> Markup:
    """The text of a style or script, to stand in a page as it is."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


def script_digests(names: Iterable[str]) -> str:
    """The `script-src` of a page: these scripts and no others."""
    digests = [base64.b64encode(hashlib.sha256(inline(name).encode()).digest()).decode() for name in names]
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"


def percent(value: float) -> str:
    """A share as people read it: 0.925 -> 93 %."""
    return f"{100 * value:.0f} %"


def counted(number: int, noun: str, many: str = "") -> str:
    """A number with its noun: 1 picture, 2 pictures."""
    return f"{number} {noun if number == 1 else many or noun + 's'}"
