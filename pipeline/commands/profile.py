"""`paleo profile NAME`: lay a profile of infra/profiles over params.yaml, comments kept."""

from __future__ import annotations

import difflib
import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipeline.core import params as params_module
from pipeline.core.errors import InputError
from pipeline.core.records import Report
from pipeline.io.files.atomic_write import write_text

FOLDER = Path("infra/profiles")


def profile(root: Path, name: str, dry_run: bool = False) -> Report:
    """Merge one profile into params.yaml; nothing is written when the result would not be valid.

    Raises
    ------
    InputError
        When there is no such profile.
    ParamsError
        When the merged params are not valid.
    """
    params_module.sections((root / "params.yaml").read_text(encoding="utf-8"), "params.yaml")
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 120
    merged, overlay = yaml.load(root / "params.yaml"), YAML(typ="safe").load(_file(root, name))
    changes = list(_merge(merged, overlay))
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


def _merge(target: CommentedMap, overlay: dict[str, Any], where: str = ""):
    """Lay `overlay` over `target` in place; yields a line per changed value."""
    for key, value in overlay.items():
        path = f"{where}{key}"
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            yield from _merge(target[key], value, f"{path}.")
        elif target.get(key) != value:
            yield f"{path}: {target.get(key)} -> {value}"
            target[key] = value
