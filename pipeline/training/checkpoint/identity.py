"""What decides the weights of a training, by name, so that a resume can report what has changed.

Each unfinished training has it beside its states, as `.work/train/<lineage id>/identity.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core import strict_json
from pipeline.core.errors import InputError
from pipeline.core.lineage import lineage_id
from pipeline.training.checkpoint.state import CheckpointStore

FILE = "identity.json"
ENVIRONMENT = "means"  # its key in the file, beside those of `Identity`
MAX_DIFFERENCES = 4  # that are named; the others are counted


@dataclass(frozen=True)
class Identity:
    """`dataset`, `base` and `code` are digests; `params` are those that the weights depend on, `species` among them."""

    species: str
    dataset: str
    base: str
    params: Mapping[str, Any]
    code: str

    @property
    def lineage_id(self) -> str:
        return lineage_id(dataset=self.dataset, base=self.base, params=self.params, code=self.code)


@dataclass(frozen=True)
class UnfinishedTraining:
    """A training that was started and did not end."""

    store: CheckpointStore
    identity: Identity
    bytes: int

    def __str__(self) -> str:
        steps = self.identity.params["train"]["steps"]
        return f"the unfinished training of {self.identity.species} (step {self.store.step} of {steps})"


def record_start(store: CheckpointStore, identity: Identity, environment: Mapping[str, str]) -> list[str]:
    """Write the identity of a training beside its states, with its `environment` (versions, hardware).

    Returns lines to log: of a resumed training how its environment has changed, of a new one which unfinished trainings
    are not continued.
    """
    path = store.folder / FILE
    before = _read(path)
    if store.step and before:
        return _environment_changes(before.get(ENVIRONMENT, {}), environment)
    store.folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{FILE}")
    content = {**asdict(identity), ENVIRONMENT: dict(environment)}
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return _not_continued(other_unfinished(store.folder.parent, identity), identity)


def check_resumable(store: CheckpointStore, identity: Identity, snapshots: tuple[int, ...]) -> None:
    """For `--resume`, which must not start a new training.

    Raises
    ------
    InputError
        When there is nothing that can be continued; it names what has changed since.
    """
    if store.newest_intact_step(snapshots) is not None:
        return
    if store.step:
        raise InputError(
            f"the unfinished training of {identity.species} cannot be continued: none of its states is "
            f"intact; run it without --resume to start again"
        )
    lines = _not_continued(other_unfinished(store.folder.parent, identity), identity)
    if not lines:
        raise InputError(f"there is no unfinished training of {identity.species}; run it without --resume to start one")
    raise InputError(f"{lines[0]}; nothing was started")


def other_unfinished(folder: Path, identity: Identity) -> list[UnfinishedTraining]:
    """The other trainings of the same species with a saved state below `folder`, the newest first."""
    found = []
    for path in folder.glob(f"*/{FILE}"):
        content, store = _read(path), CheckpointStore(path.parent, path.parent.name)
        if content and store.step and path.parent.name != identity.lineage_id:
            content.pop(ENVIRONMENT, None)
            found.append(UnfinishedTraining(store, Identity(**content), _size_bytes(path.parent)))
    same = [training for training in found if training.identity.species == identity.species]
    return sorted(same, key=lambda training: training.store.states[0].path.stat().st_mtime, reverse=True)


def differences(before: Identity, now: Identity) -> list[str]:
    """What has changed between two trainings of a species, each as a clause."""
    old, new = _flat(before.params, before.species), _flat(now.params, now.species)
    # A param that only one of them has belongs to another method or another version of the code.
    clauses = [
        f"{name} was {old[name]!r} and is {new[name]!r}"
        for name in old
        if name in new and old[name] != new[name] and not name.startswith("masks.")
    ]
    masks = [{name: value for name, value in flat.items() if name.startswith("masks.")} for flat in (old, new)]
    changed = {
        "the pictures changed": before.dataset != now.dataset,
        "the masks changed": masks[0] != masks[1],
        "the weights of the base model changed": before.base != now.base,
        "the code of training changed": before.code != now.code,
    }
    return clauses + [clause for clause, is_so in changed.items() if is_so]


def _flat(params: Mapping[str, Any], species: str, above: str = "") -> dict[str, Any]:
    """Nested params by the dotted names that params.yaml has."""
    found: dict[str, Any] = {}
    for key, value in params.items():
        name = {"species": f"species.{species}", "family": "base.family"}.get(key, key) if not above else key
        if isinstance(value, Mapping):
            found |= _flat(value, species, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found


def _not_continued(others: list[UnfinishedTraining], identity: Identity) -> list[str]:
    """Lines about unfinished trainings of the species that are left as they are, and why."""
    if not others:
        return []
    newest, *older = others
    changes = differences(newest.identity, identity)
    named = changes[:MAX_DIFFERENCES]
    if more := len(changes) - len(named):
        named.append(f"and {more} more things changed")
    change_back = "change it back" if len(changes) == 1 else "change them back"
    lines = [
        f"{newest} is not continued: {', '.join(named)}; {change_back} to continue it, or remove "
        f"{newest.store.folder} ({_size(newest.bytes)})"
    ]
    if older:
        lines.append(
            f"{len(older)} older unfinished training{'s' if len(older) > 1 else ''} of {identity.species} beside it "
            f"take {_size(sum(training.bytes for training in older))}"
        )
    return lines


def _environment_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    changed = [f"{name} {before[name]}, now {now[name]}" for name in now if before.get(name, now[name]) != now[name]]
    if not changed:
        return []
    return [
        f"this training was started with {'; '.join(changed)}: it continues, but its result will not be the same bytes "
        "as that of an uninterrupted one"
    ]


def _read(path: Path) -> dict[str, Any] | None:
    """The content of an identity file; None where it is missing or of another form."""
    try:
        content: dict[str, Any] = strict_json.parse(path.read_bytes())
        Identity(**{key: value for key, value in content.items() if key != ENVIRONMENT})
        content["params"]["train"]["steps"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return content


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
