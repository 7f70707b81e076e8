"""Tags of runs and versions in MLflow: few, because its pages show them all as one heap.

What belongs together is one tag whose value is JSON, such as `data: {"dataset_digest": …, "n_pictures": …}`. What
people search by (`lineage_id`, `step`, `method`, `licences`) stays a tag of its own. Read back they are flat again, and
so are those of paleoforge 0.1.0, which had a tag for each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

GROUPS: dict[str, tuple[str, ...]] = {  # tag -> what it holds; a name that ends in a dot stands for all that begin so
    "code": ("git_commit", "git_dirty", "dvc_experiment", "prefect_flow_run_id", "prefect_flow_run_name"),
    "data": ("dataset_digest", "dvc_md5", "dataset_tag", "n_pictures", "n_held_out"),
    "evaluation": ("primary", "metric.", "base.", "suite_digest", "clip_digest", "compared_with"),
    "model": ("family", "base", "base_digest"),
    "promotion": ("promotion", "promoted_by", "promoted_at", "promoted_from", "gate_report"),
}


def grouped(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as they are stored: groups as JSON, the others as they are."""
    found: dict[str, dict[str, str]] = {}
    alone: dict[str, str] = {}
    for name, value in tags.items():
        group = _group_of(name)
        if group:
            found.setdefault(group, {})[name] = str(value)
        else:
            alone[name] = str(value)
    return {**alone, **{group: json.dumps(values, ensure_ascii=False) for group, values in sorted(found.items())}}


def flat(tags: Mapping[str, str]) -> dict[str, str]:
    """Stored tags, one name for one value again; a group overrules what 0.1.0 has stored beside it."""
    result = {name: value for name, value in tags.items() if name not in GROUPS}
    for name in GROUPS:
        result |= _members(name, tags[name]) if name in tags else {}
    return result


def _members(name: str, value: str) -> dict[str, str]:
    """What a group's tag holds; one of 0.1.0 with the name of a group is a plain value."""
    try:
        found = json.loads(value)
    except ValueError:
        return {name: value}
    return {str(key): str(each) for key, each in found.items()} if isinstance(found, dict) else {name: value}


def _group_of(name: str) -> str:
    return next((group for group, members in GROUPS.items() for member in members if _is(name, member)), "")


def _is(name: str, member: str) -> bool:
    return name.startswith(member) if member.endswith(".") else name == member
