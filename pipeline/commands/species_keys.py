"""`paleo species remove | rename`: the key of a species in params.yaml; nothing that was made is deleted.

Before anything is written, the command lists what stays where and what runs again, and has it confirmed.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from ruamel.yaml import YAML

from pipeline.commands import species_text
from pipeline.core import params as params_module
from pipeline.core import yaml_edit
from pipeline.core.errors import InputError, ParamsError, ServiceError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Report
from pipeline.io.files.atomic_write import write_text
from pipeline.io.tracking import mlflow_registry, mlflow_store

LOCK = "dvc.lock"
RUN_LOCK = "run.lock"  # in .work/, held by `paleo run` while it works
SITE = "site"


@dataclass(frozen=True)
class Confirmation:
    """How a change of params.yaml is confirmed: by `--yes`, or by typing the key on a terminal."""

    yes: bool = False
    dry_run: bool = False

    def require(self, lines: tuple[str, ...], key: str, verb: str) -> None:
        """Print the lines and have them confirmed.

        Raises
        ------
        InputError
            Without a terminal and without `--yes`, or when something else than the key is typed.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise InputError(
                f"not confirmed, so nothing was changed; add --yes to {verb} {key!r} (--dry-run: look first)"
            )
        click.echo("\n".join(lines))
        if click.prompt(f"Type {key} to {verb} it", default="", show_default=False).strip() != key:
            raise InputError("not confirmed, so nothing was changed")


def remove(params: Params, paths: Paths, confirmation: Confirmation) -> Report:
    """Take a species out of params.yaml, whose other lines stay as they are; its files and versions stay.

    Raises
    ------
    InputError
        When it is the only species, a run is at work, or it is not confirmed.
    ParamsError
        When its entry cannot be cut out safely.
    """
    key = paths.species
    if len(params.species) == 1:
        raise InputError(f"{key} is the only species, and params.yaml needs one; add another first, then remove it")
    text = species_text.read(paths.params)
    edited = _edited(text, yaml_edit.remove_key, f"species.{key}")
    others = len(params.species) - 1
    lines = (f"{key} leaves params.yaml", *_staying(paths), *_running_again(others))
    undo = f"to have it back: `git checkout -- params.yaml`, or add its entry again:\n{_entry(text, key)}"
    if confirmation.dry_run:
        return Report("species", (*lines, "dry run: nothing was changed"))
    _refuse_during_run(paths)
    confirmation.require(lines, key, "remove")
    write_text(paths.params, edited)
    return Report("species", (*(lines if confirmation.yes else ()), f"removed {key} from params.yaml", undo))


def rename(params: Params, paths: Paths, new: str, confirmation: Confirmation) -> Report:
    """Give a species another key: in params.yaml and for its collection; what was made from that stays under the old.

    Raises
    ------
    InputError
        When the new key is taken, a collection lies under it, a run is at work, or it is not confirmed.
    ParamsError
        When the new key cannot be one, or the old one cannot be renamed safely.
    """
    old = paths.species
    if not species_text.is_key(new):
        raise ParamsError(f"{new!r} is no key of a species: small letters, digits, - and _")
    if new in params.species:
        raise InputError(f"params.yaml has a species {new!r} already ({params.species[new].name}); choose another key")
    target = paths.of(new)
    if target.raw.exists():
        raise InputError(f"{_relative(target.raw, paths)} is there already; move it away or choose another key")
    edited = _edited(species_text.read(paths.params), yaml_edit.rename_key, f"species.{old}", f"species.{new}")
    moving = [(paths.raw, target.raw), (paths.statistics, target.statistics)]  # no dependency of another species
    moving = [(here, there) for here, there in moving if here.exists()]
    lines = (
        f"{old} becomes {new} in params.yaml",
        *(f"moves: {_relative(here, paths)} to {_relative(there, paths)}" for here, there in moving),
        *_staying(paths, new),
        *_running_again(len(params.species) - 1, new),
    )
    if confirmation.dry_run:
        return Report("species", (*lines, "dry run: nothing was changed"))
    _refuse_during_run(paths)
    confirmation.require(lines, old, "rename")
    write_text(paths.params, edited)
    for here, there in moving:
        here.rename(there)
    back = f"renamed {old} to {new}; `paleo species rename {new} {old}` takes it back"
    return Report("species", (*(lines if confirmation.yes else ()), back))


def _edited(text: str, edit: Callable[..., str], *path: str) -> str:
    """The text edited in place; ParamsError when it would not be valid."""
    windows = "\r\n" in text
    edited = edit(text.replace("\r\n", "\n"), *path)
    params_module.parse(edited, f"params.yaml without {path[0]}")
    return edited.replace("\n", "\r\n") if windows else edited


def _staying(paths: Paths, new: str = "") -> Iterator[str]:
    """What stays under the key, in words; with `new` it is renamed, not removed."""
    made = [paths.curated, paths.curation, paths.validation, paths.model, paths.samples, paths.evaluation]
    made += [paths.root / SITE / paths.species, *([] if new else [paths.raw, paths.statistics])]
    there = [path for path in made if path.exists()]
    if there:
        names = ", ".join(_relative(path, paths) for path in there)
        yield f"stays: {names} ({_megabytes(there)}); delete them by hand when nobody needs them"
    yield from _written_by_people(paths, new)
    entries = [name for name in _lock_stages(paths) if name.endswith(f"@{paths.species}")]
    if entries:
        yield f"stays: {len(entries)} entries in dvc.lock, which DVC passes over; earlier commits can still be restored"
    yield from _versions(paths)


def _written_by_people(paths: Paths, new: str) -> Iterator[str]:
    """Reviews and masks. They are not moved: DVC takes each of these folders as one dependency of every species."""
    for path, stage in ((paths.reviews, "curate"), (paths.masks, "train")):
        if not path.exists():
            continue
        name = _relative(path, paths)
        target = _relative(path.with_name(path.name.replace(paths.species, new, 1)), paths)
        move = f"; `git mv {name} {target}` takes it along, and then {stage} runs again for every species"
        yield f"stays: {name}, made by people{move if new else ''}"


def _versions(paths: Paths) -> Iterator[str]:
    """The registered versions, where there is a registry."""
    if not (os.environ.get(mlflow_store.URI) or (paths.root / "mlflow.db").is_file()):
        return
    client, key = mlflow_store.connect(paths.root), paths.species
    try:
        with mlflow_store.mlflow_errors(client.tracking_uri):
            known = mlflow_registry.versions(client, key)
    except ServiceError as error:
        yield f"unknown: whether it has registered versions ({error})"
        return
    if known:
        numbers = ", ".join(str(version.number) for version in known)
        example = f"models:/{key}/{known[-1].number}"
        yield f"stays: version {numbers} of {key} in MLflow; `paleo versions {key}` lists them, {example} loads"


def _running_again(others: int, new: str = "") -> Iterator[str]:
    """Which stages the next run repeats."""
    if new:
        yield f"runs again: every stage of {new}, its training too, whose result is that of the old key"
    species = f"the other {others} species" if others > 1 else "the other species"
    yield (
        f"runs again: evaluate of {species} (species accuracy compares all species) and gallery; nothing of theirs is "
        "collected, curated, trained or sampled again"
    )


def _lock_stages(paths: Paths) -> list[str]:
    file = paths.root / LOCK
    content = YAML(typ="safe").load(file.read_text(encoding="utf-8")) if file.is_file() else None
    return list((content or {}).get("stages") or {})


def _entry(text: str, key: str) -> str:
    """The lines of a species in params.yaml, its comments among them."""
    document = yaml_edit.Document(text.replace("\r\n", "\n"))
    entry = yaml_edit.find(document, ["species", key])
    return "\n".join(document.lines[number] for number in entry.lines).rstrip() if entry else ""


def _refuse_during_run(paths: Paths) -> None:
    """InputError while `paleo run` works here: it reads params.yaml and the folders again and again."""
    file = paths.work / RUN_LOCK
    if not file.is_file():
        return
    with file.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("a run works in this project; wait for it or stop it, then try again") from None


def _relative(path: Path, paths: Paths) -> str:
    return path.relative_to(paths.root).as_posix()


def _megabytes(folders: list[Path]) -> str:
    files = (file for folder in folders for file in (folder.rglob("*") if folder.is_dir() else [folder]))
    return f"{sum(file.stat().st_size for file in files if file.is_file()) / 1e6:.1f} MB"
