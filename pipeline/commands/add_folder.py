"""`paleo species add --folder`: a species of one's own pictures; no authority is looked up, no network is used."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.commands import species_text
from pipeline.core import registry
from pipeline.core.errors import InputError, ParamsError, ServiceError
from pipeline.core.licences import accepted
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import ApiResponse, Candidate, Rejection, Report, Request
from pipeline.io.files.atomic_write import write_text
from pipeline.io.images import codecs
from pipeline.sources.folder import FolderParams, FolderSource
from pipeline.sources.licences import CC0, PUBLIC_DOMAIN, spdx
from pipeline.sources.source import SourceContext
from pipeline.taxonomy.entry import commented, indent_of, scalar

NAMED = 3  # files that a line names
KEY_CHARACTERS = 40  # of a key that is made from a folder's name


@dataclass(frozen=True)
class OwnPictures:
    """What the command line says of a folder of pictures; what is empty follows from the folder."""

    folder: Path
    licence: str
    class_noun: str
    author: str = ""
    trusted: bool = False
    name: str = ""
    key: str = ""


@dataclass(frozen=True)
class Found:
    """The files of the folder: how many are pictures and have captions, and what the others are."""

    n_pictures: int
    n_captions: int
    others: tuple[str, ...]


def add(params: Params, paths: Paths, own: OwnPictures, dry_run: bool = False) -> Report:
    """Check the folder and what is said of it, and write its entry into params.yaml.

    Raises
    ------
    InputError
        When there is no such folder or it holds no picture, the licence is unknown or not accepted, or the key or the
        name is taken.
    ParamsError
        When the key cannot be one, or the entry cannot be put into params.yaml as that is written.
    """
    licence = _licence(own.licence, params.collect.licences)
    source = FolderParams(
        kind="folder",
        path=_path(own.folder, paths.root),
        licence=licence,
        author=own.author.strip(),
        trusted=own.trusted,
    )
    found = _found(source, paths.root)
    title = _words(own.folder.resolve().name)
    name = " ".join((own.name or title).split())
    key = _key(own.key or slug(title), params, given=bool(own.key))
    text = species_text.read(paths.params)
    entry = "".join(f"{indent_of(text)}{line}\n" for line in _entry(key, name, own.class_noun, source))
    merged = species_text.with_entry(text, key, entry, name)
    lines = [_summary(found, source), *_warnings(params, found, source, name, own), entry.rstrip("\n")]
    if dry_run:
        return Report("species", (*lines, "dry run: nothing was written"))
    write_text(paths.params, merged)
    return Report("species", (*lines, f"added to params.yaml as {key!r}; `paleo run {key}` does the rest"))


def slug(text: str) -> str:
    """Words as a key: `My Cats` -> `my-cats`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:KEY_CHARACTERS].strip("-") or "species"


def _words(folder: str) -> str:
    return re.sub(r"[\s_-]+", " ", folder).strip() or "species"


def _path(folder: Path, root: Path) -> str:
    """The folder as params.yaml names it: below the project where it lies there, else in full."""
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "is not there"
        beside = [each.name for each in folder.parent.iterdir() if each.is_dir()] if folder.parent.is_dir() else []
        near = difflib.get_close_matches(folder.name, beside, n=1)
        remedy = f"did you mean {str(folder.with_name(near[0]))!r}?" if near else "give a folder that holds pictures"
        raise InputError(f"--folder {str(folder)!r} {problem}; {remedy}")
    full, home = folder.resolve(), root.resolve()
    return full.relative_to(home).as_posix() if full.is_relative_to(home) else full.as_posix()


def _licence(given: str, policy: tuple[str, ...]) -> str:
    """The licence as params.yaml spells it; InputError unless `collect.licences` accepts it."""
    named = spdx(given) or given.strip()
    if accepted(named, policy):
        return next((each for each in policy if each.casefold() == named.casefold()), named)
    if spdx(given):
        raise InputError(
            f"--licence {named!r} is not among collect.licences in params.yaml, so every picture would be refused; "
            f"accepted are {', '.join(policy)}: give one of them, or add it there"
        )
    raise InputError(
        f"--licence {given!r} is no licence that is known; {registry.hint(given, policy)} For pictures under terms of "
        "your own, add a name for these to collect.licences in params.yaml and give that"
    )


def _found(source: FolderParams, root: Path) -> Found:
    """Look at every file as the collection will."""
    offers = list(FolderSource().pictures(source, SourceContext(root, 0, _no_web)))
    pictures = [candidate for candidate, content in offers if isinstance(content, bytes) and codecs.sniff(content)]
    others = tuple(_other(*offer) for offer in offers if not isinstance(offer[1], bytes) or not codecs.sniff(offer[1]))
    if not pictures:
        raise InputError(
            f"--folder {source.path!r} holds no picture, but {_counted(len(others), 'other file')} "
            f"({_first(others)}); put JPEG, PNG, WebP, TIFF or AVIF files there"
        )
    return Found(len(pictures), sum(bool(candidate.caption) for candidate in pictures), others)


def _other(candidate: Candidate, content: bytes | Rejection | None) -> str:
    return candidate.source_id


def _no_web(_request: Request) -> ApiResponse:
    raise ServiceError("a folder needs no web")


def _key(key: str, params: Params, *, given: bool) -> str:
    if given and not species_text.is_key(key):
        raise ParamsError(f"--key {key!r} is no key (small letters, digits, - and _); did you mean {slug(key)!r}?")
    if key in params.species:
        name = params.species[key].name
        free = next(f"{key}-{number}" for number in range(2, 10**6) if f"{key}-{number}" not in params.species)
        raise InputError(
            f"params.yaml has a species {key!r} already ({name}); choose another key, such as --key {free}"
        )
    return key


def _entry(key: str, name: str, noun: str, source: FolderParams) -> Iterator[str]:
    fields = {"kind": source.kind, "path": source.path, "licence": source.licence}
    fields |= {"author": source.author} if source.author else {}
    shown = ", ".join(f"{field}: {scalar(value)}" for field, value in fields.items())
    yield f"{scalar(key)}:"
    yield commented(f"  name: {scalar(name)}", "{name} in prompts")
    yield commented(f"  class_noun: {scalar(noun)}", "{class_noun} in prompts: what the base model already knows")
    yield "  sources:"
    yield f"    - {{{shown}{', trusted: true' if source.trusted else ''}}}"


def _summary(found: Found, source: FolderParams) -> str:
    captions = f", {found.n_captions} with a caption (.txt)" if found.n_captions else ""
    others = f"; not pictures: {_first(found.others)}" if found.others else ""
    return f"{_counted(found.n_pictures, 'picture')} in {source.path}{captions}{others}"


def _warnings(params: Params, found: Found, source: FolderParams, name: str, own: OwnPictures) -> Iterator[str]:
    needed = params.validate_.min_train + params.validate_.min_holdout
    if found.n_pictures < needed:
        yield (
            f"warning: {needed} are needed to train (validate.min_train and min_holdout), and some may be dropped; "
            "add more"
        )
    if name.casefold() == own.class_noun.casefold():
        yield (
            f"warning: {name!r} is both its name and its noun, so prompts cannot tell yours from any other; give a "
            f'name: `paleo species add "my {name}" --folder …`'
        )
    if not source.author and source.licence not in (CC0, PUBLIC_DOMAIN):
        yield f"warning: {source.licence} requires credit, and no --author is named"
    if not source.trusted:
        yield (
            "warning: CLIP judges what each picture shows and drops what is no life reconstruction of an animal; "
            "--trusted keeps what you chose by hand"
        )
    if Path(source.path).is_absolute():
        yield "warning: the folder is outside the project, so a clone of the project lacks it"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
