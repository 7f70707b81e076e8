"""`paleo profile NAME`: lay a profile of infra/profiles over params.yaml, comments kept.

A profile is a part of params.yaml. `extends: OTHER` at its top lays OTHER under it.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from pipeline.core import params as params_module
from pipeline.core.errors import InputError
from pipeline.core.records import Report
from pipeline.io.files.atomic_write import write_text

FOLDER = Path("infra/profiles")
EXTENDS = "extends"
LONGEST_VALUE = 60  # characters of a value in a printed line


def profile(root: Path, name: str, dry_run: bool = False) -> Report:
    """Merge one profile into params.yaml; nothing is written when the result would not be valid.

    Raises
    ------
    InputError
        When there is no such profile, or profiles extend each other in a circle.
    ParamsError
        When the merged params are not valid.
    """
    params_module.sections((root / "params.yaml").read_text(encoding="utf-8"), "params.yaml")
    yaml = _yaml()
    before, merged = (yaml.load(root / "params.yaml") for _ in range(2))
    for overlay in _overlays(root, name, yaml):
        _lay_over(merged, overlay)
    changes = list(_differences(before, merged))
    text = io.StringIO()
    yaml.dump(merged, text)
    params_module.parse(text.getvalue(), f"params.yaml with profile {name}")
    if not dry_run:
        write_text(root / "params.yaml", text.getvalue())
    done = "would change" if dry_run else "changed"
    return Report("profile", (*changes, f"profile {name}: {len(changes)} values {done} in params.yaml"))


def _file(root: Path, name: str) -> Path:
    known = sorted(path.stem for path in (root / FOLDER).glob("*.yaml"))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"no profile {name!r} in {FOLDER} (there are {', '.join(known)}){hint}")
    return root / FOLDER / f"{name}.yaml"


def _yaml() -> YAML:
    """Reads and writes with comments, quotes, list styles and long lines as they are."""
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _overlays(root: Path, name: str, yaml: YAML, above: tuple[str, ...] = ()) -> list[CommentedMap]:
    """The profile and those that it extends, the undermost first."""
    if name in above:
        raise InputError(f"the profiles {' and '.join(above)} in {FOLDER} extend each other; remove one `{EXTENDS}:`")
    overlay = yaml.load(_file(root, name))
    below = overlay.pop(EXTENDS, None)
    return [*(_overlays(root, below, yaml, (*above, name)) if below else []), overlay]


def _lay_over(target: CommentedMap, overlay: CommentedMap) -> None:
    """Put the values of `overlay` into `target`, in place; lists are replaced as a whole, comments below them stay."""
    for number, (key, value) in enumerate(overlay.items()):
        old = target.get(key)
        if isinstance(value, CommentedMap) and isinstance(old, CommentedMap):
            _lay_over(old, value)
        elif key in target:
            target[key] = value
            if isinstance(old, CommentedSeq) and isinstance(value, CommentedSeq):
                value.ca.end = old.ca.end
        else:
            following = (list(target).index(other) for other in list(overlay)[number:] if other in target)
            target.insert(next(following, len(target)), key, value)


def _differences(before: dict[str, Any], after: dict[str, Any], where: str = "") -> Iterator[str]:
    """A line for every value of `after` that is another in `before`."""
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            yield from _differences(old, value, f"{where}{key}.")
        elif old != value:
            yield f"{where}{key}: {_short(old)} -> {_short(value)}"


def _short(value: Any) -> str:
    """A value on one line; a long list or section by how much it holds."""
    text = "(default)" if value is None else str(value)
    if isinstance(value, dict | list) and len(text) > LONGEST_VALUE:
        text = f"{len(value)} entries"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
