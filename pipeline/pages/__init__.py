"""Pages: data in, HTML text out. Nothing here reads or writes a result, knows the clock or calls out.

A template extends `base.html`, which brings the style and a strict content security policy. Style and script
of a page are files beside its template; they are named at the top of it and stand inside the finished page:

    {% extends "base.html" %}
    {% set styles = ["contact_sheet.css"] %}
    {% set scripts = ["contact_sheet.js"] %}
    {% block title %}…{% endblock %}
    {% block main %}…{% endblock %}

Only those scripts may run (the policy names their digests), so no string from outside can become code.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
LOADER = FileSystemLoader(TEMPLATES)


def render(template: str, **context: Any) -> str:
    """Fill a template of `templates/`: every value is escaped, a name that is not given is an error."""
    return _environment().get_template(template).render(**context)


def inline(name: str) -> Markup:
    """The text of a style or script of `templates/`, to stand in a page as it is."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


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


def _environment() -> Environment:
    environment = Environment(
        loader=LOADER, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(inline=inline, script_digests=script_digests, counted=counted)
    environment.filters["percent"] = percent
    return environment
