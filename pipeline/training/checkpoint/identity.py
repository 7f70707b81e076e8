"""What decides the weights of a training, by name, so that a resume can say what is no longer the same.

Each unfinished training keeps it beside its states, as `.work/train/<lineage id>/identity.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.lineage import lineage_id
from pipeline.training.checkpoint.state import CheckpointStore

FILE = "identity.json"
NAMED = 4  # differences; the others are counted


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
class Unfinished:
    """A training that was begun and did not end."""

    saves: CheckpointStore
    identity: Identity
    bytes: int

    def __str__(self) -> str:
        steps = self.identity.params["train"]["steps"]
        return f"the unfinished training of {self.identity.species} (step {self.saves.step} of {steps})"


def begin(saves: CheckpointStore, identity: Identity, means: Mapping[str, str]) -> list[str]:
    """Write down what is about to be trained, and by which `means` (versions, hardware); returns what to tell.

    A training that goes on is told of other means; one that starts, of unfinished ones that it leaves alone.
    """
    path = saves.folder / FILE
    before = _read(path)
    if saves.step and before:
        return _other_means(before.get("means", {}), means)
    saves.folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{FILE}")
    partial.write_text(json.dumps({**asdict(identity), "means": dict(means)}, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return list(_left_alone(unfinished(saves.folder.parent, identity), identity))


def refuse_to_start(saves: CheckpointStore, identity: Identity, snapshots: tuple[int, ...]) -> None:
    """For who wants to go on and nothing else.

    Raises
    ------
    InputError
        When there is nothing that can be continued; it names what has changed since.
    """
    if saves.whole(snapshots) is not None:
        return
    if saves.step:
        raise InputError(
            f"the unfinished training of {identity.species} cannot be continued: none of its states is "
            f"whole; run it without --resume to start again"
        )
    left = list(_left_alone(unfinished(saves.folder.parent, identity), identity))
    if not left:
        raise InputError(f"there is no unfinished training of {identity.species}; run it without --resume to start one")
    raise InputError(f"{left[0]}; nothing was started")


def unfinished(folder: Path, identity: Identity) -> list[Unfinished]:
    """The other trainings of the same species with a saved state below `folder`, the newest first."""
    found = []
    for path in folder.glob(f"*/{FILE}"):
        content, saves = _read(path), CheckpointStore(path.parent, path.parent.name)
        if content and saves.step and path.parent.name != identity.lineage_id:
            content.pop("means", None)
            found.append(Unfinished(saves, Identity(**content), _size(path.parent)))
    same = [one for one in found if one.identity.species == identity.species]
    return sorted(same, key=lambda one: one.saves.states[0].path.stat().st_mtime, reverse=True)


def differences(before: Identity, now: Identity) -> list[str]:
    """What a person has changed between two trainings of a species, in words."""
    old, new = _flat(before.params, before.species), _flat(now.params, now.species)
    # A param that only one of them has belongs to another method or another version of the code.
    words = [
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
    return words + [sentence for sentence, is_so in changed.items() if is_so]


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


def _left_alone(others: list[Unfinished], identity: Identity) -> Iterator[str]:
    if not others:
        return
    newest, *older = others
    words = differences(newest.identity, identity)
    more = [f"and {len(words) - NAMED} more things changed"] if len(words) > NAMED else []
    back = "put it back" if len(words) == 1 else "put them back"
    yield (
        f"{newest} is not continued: {', '.join(words[:NAMED] + more)}; {back} to go on with it, or remove "
        f"{newest.saves.folder} ({_words(newest.bytes)})"
    )
    if older:
        yield (
            f"{len(older)} older unfinished training{'s' if len(older) > 1 else ''} of {identity.species} beside it "
            f"take {_words(sum(one.bytes for one in older))}"
        )


def _other_means(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    changed = [f"{name} {before[name]}, now {now[name]}" for name in now if before.get(name, now[name]) != now[name]]
    if not changed:
        return []
    return [f"this training was begun with {'; '.join(changed)}: it goes on, but not to the bytes of an unbroken one"]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        Identity(**{key: value for key, value in content.items() if key != "means"})
        content["params"]["train"]["steps"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return content


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _words(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
