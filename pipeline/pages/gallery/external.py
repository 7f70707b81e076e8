"""Pictures from elsewhere as a further column: which file belongs to which prompt?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

NUMBER = re.compile(r"^(?:p|prompt)?[ _-]?(\d{1,3})(?!\d)", re.IGNORECASE)
DIGITS = re.compile(r"(\d+)")


def slug(text: str) -> str:
    """Words joined by hyphens: "Pencil drawn X" -> pencil-drawn-x."""
    return "-".join(re.findall(r"[^\W_]+", text.lower()))


def match(names: Sequence[str], prompts: Sequence[str], *, numbered: bool) -> dict[int, list[str]]:
    """{place of the prompt: file names}: by the prompt as file name; else, if `numbered`, by number or by order.

    A file called as a prompt (what follows it may be anything) belongs to that prompt, the longest that fits. If no
    file is called so, a number in front counts: 01.png is the first prompt, or 00.png if there is one. If there
    are neither and there is one file for each prompt, they are taken in the order of their names.
    """
    found = _by_prompt(names, prompts)
    if found or not numbered:
        return found
    return _by_number(names, len(prompts)) or _by_order(names, len(prompts))


def _by_prompt(names: Sequence[str], prompts: Sequence[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    longest_first = sorted(enumerate(map(slug, prompts)), key=lambda item: -len(item[1]))
    stems = {name: slug(PurePath(name).stem) for name in names}
    for name, stem in stems.items():
        index = next((index for index, prompt in longest_first if f"{stem}-".startswith(f"{prompt}-")), None)
        if index is not None:
            found.setdefault(index, []).append(name)
    # "{name}" is a prompt itself, so files called Dimorphodontidae-1, -2, … are numbered rather than called as one
    called = len(found) > 1 or any(slug(prompt) in stems.values() for prompt in prompts)
    return found if called else {}


def _by_number(names: Sequence[str], count: int) -> dict[int, list[str]]:
    numbers = {name: int(hit.group(1)) for name in names if (hit := NUMBER.match(PurePath(name).stem))}
    first = 0 if 0 in numbers.values() else 1
    found: dict[int, list[str]] = {}
    for name, number in numbers.items():
        if 0 <= number - first < count:
            found.setdefault(number - first, []).append(name)
    return found


def _by_order(names: Sequence[str], count: int) -> dict[int, list[str]]:
    natural = sorted(
        names, key=lambda name: [(part.isdigit(), int(part) if part.isdigit() else part) for part in DIGITS.split(name)]
    )
    return {index: [name] for index, name in enumerate(natural)} if len(names) == count else {}
