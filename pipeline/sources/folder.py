"""A folder of pictures as a source: every file is a candidate, `dog.txt` is the caption of `dog.jpg`."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pipeline.core.errors import InputError
from pipeline.core.param_types import SourceParams, Text
from pipeline.core.records import Candidate, Rejection
from pipeline.sources.licences import address_of, spdx
from pipeline.sources.source import Offer, Source, SourceContext

CAPTION = ".txt"
MAX_BYTES = 200 * 2**20  # larger than any picture; a disk image put there by mistake is not read


class FolderParams(SourceParams):
    """A folder of pictures, `dog.jpg` with an optional caption in `dog.txt`."""

    kind: Literal["folder"]
    path: Text
    licence: str
    author: str = ""
    trusted: bool = False
    """Chosen by hand, so curation does not judge what a picture shows."""

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.path}"

    @property
    def is_trusted(self) -> bool:
        return self.trusted


class FolderSource(Source[FolderParams]):
    Params = FolderParams

    def check(self, params: FolderParams, root: Path) -> None:
        _files(root / params.path, params.path)

    def pictures(self, params: FolderParams, context: SourceContext) -> Iterator[Offer]:
        """Every file below the folder but captions and hidden ones, sorted by its path.

        Raises
        ------
        InputError
            When there is no such folder, it cannot be listed or holds no file, or a caption is no UTF-8 text.
        """
        folder = context.root / params.path
        licence = spdx(params.licence) or params.licence.strip()  # a name of one's own may be on the allow-list
        for path in _files(folder, params.path):
            name = _unicode_name(path.relative_to(folder).as_posix())
            where = f"{params.path.rstrip('/')}/{name}"
            candidate = Candidate(
                params.label,
                name,
                where,
                caption=_caption(path),
                author=params.author,
                licence=licence,
                licence_url=address_of(licence),
                licence_text=params.licence,
            )
            yield candidate, _content(path, where)


def _files(folder: Path, named: str) -> list[Path]:
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "is not there"
        raise InputError(
            f"the picture folder {named!r} {problem}; put pictures there or correct `path:` in params.yaml"
        )
    found = sorted(_walk(folder, named))
    if not found:
        raise InputError(
            f"the picture folder {named!r} holds no picture; put some there or correct `path:` in params.yaml"
        )
    return found


def _walk(folder: Path, named: str) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"the picture folder {named!r} cannot be read ({error.strerror}); check its permissions")

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if path.suffix.lower() != CAPTION and path.is_file())


def _content(path: Path, where: str) -> bytes | Rejection:
    try:
        if path.stat().st_size > MAX_BYTES:
            sentence = f"{where} has more than {MAX_BYTES // 2**20} MiB; save it smaller."
            return Rejection("folder", "too_many_bytes", sentence, float(path.stat().st_size))
        return path.read_bytes()
    except OSError as error:
        return Rejection(
            "folder", "unreadable_file", f"{where} cannot be read ({error.strerror}); check its permissions."
        )


def _caption(picture: Path) -> str:
    """The sidecar's text on one line; empty when there is none."""
    sidecar = picture.with_suffix(CAPTION)
    try:
        return " ".join(sidecar.read_text(encoding="utf-8-sig").split()) if sidecar.is_file() else ""
    except UnicodeDecodeError:
        raise InputError(f"the caption {_unicode_name(str(sidecar))!r} is no UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"the caption {_unicode_name(str(sidecar))!r} cannot be read ({error.strerror})") from error


def _unicode_name(name: str) -> str:
    """A file name as text: tables hold no name that is not Unicode, and one name has one spelling."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", errors="replace"))
