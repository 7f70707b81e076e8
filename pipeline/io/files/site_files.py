"""Pictures of pages: copies and thumbnails below the site, data URIs inside a page."""

from __future__ import annotations

import base64
import html
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.records import Rejection
from pipeline.io.files.atomic_write import write_bytes
from pipeline.io.files.stage_outputs import MAX_PIXELS
from pipeline.io.images import codecs

THUMB_PX = 448  # longer side: twice the size in the table, for dense screens
OFFENCE_PX = 144
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff")
SHOWN_BY_BROWSERS = SUFFIXES[:6]
SHOWN_PICTURE = re.compile(r'<img src="(?P<path>[^"<>:]+)"')
LINK = re.compile(r'href="(?P<path>[^"]+)"')
OBJECT = re.compile(r"<object\b.*?</object>", re.DOTALL)  # shows a file that does not go along
THUMBNAIL = re.compile(r"thumbs/[0-9a-f]{64}\.webp")


@dataclass(frozen=True)
class SiteImage:
    """A picture of the site: addresses relative to its page, and the size of the full one."""

    src: str
    thumb: str
    width_px: int
    height_px: int


def thumbnail_uri(path: Path, side_px: int = OFFENCE_PX) -> str:
    """A small picture inside the page, or nothing when the file cannot be opened."""
    image = codecs.decode(path.read_bytes(), MAX_PIXELS) if path.is_file() else None
    if not isinstance(image, Image.Image):
        return ""
    return "data:image/webp;base64," + base64.b64encode(codecs.thumbnail(image, side_px)).decode()


def add_picture(source: Path, page: Path, name: str, max_pixels: int = MAX_PIXELS) -> SiteImage | Rejection:
    """Copy a picture to `name` below the folder of a page; a large one gets a thumbnail beside it.

    Copied, never hard-linked: `source` may itself be a link into DVC's cache, and a site is for giving away.
    """
    content = _read(source)
    image = codecs.decode(content, max_pixels)
    if isinstance(image, Rejection):
        return image
    if source.suffix.lower() not in SHOWN_BY_BROWSERS:
        name, content = f"{name}.png", codecs.png(image)
    write_bytes(page / name, content)
    thumb = name
    if max(image.size) > THUMB_PX:
        thumb = f"{name}.thumb.webp"
        write_bytes(page / thumb, codecs.thumbnail(image, THUMB_PX))
    return SiteImage(name, thumb, *image.size)


def add_own_picture(source: Path, page: Path, name: str) -> SiteImage:
    """`add_picture` for one that a stage has made.

    Raises
    ------
    InputError
        When it is missing or broken after all.
    """
    picture = add_picture(source, page, name)
    if isinstance(picture, Rejection):
        raise InputError(f"{source} cannot be shown: {picture.sentence} Run the stage that writes it again.")
    return picture


def parameters_of(path: Path) -> str:
    """The text `parameters` of a sampled PNG, as other tools read it; nothing when there is none."""
    return texts_of(path).get("parameters", "")


def texts_of(path: Path) -> dict[str, str]:
    """The texts in a PNG by their keywords."""
    with Image.open(path) as image:
        return {str(key): str(text) for key, text in getattr(image, "text", {}).items()}


def picture_names(folder: Path) -> list[str]:
    """The picture files of a folder, sorted by name."""
    return sorted(path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def thumbnails_of(page: Path) -> set[str]:
    """The thumbnails that a page of curation shows, by their names beside it."""
    return set(THUMBNAIL.findall(page.read_text(encoding="utf-8")))


def add_files(files: Mapping[str, Path], page: Path) -> None:
    """Copy files to their names below the folder of a page, those that are there."""
    for name, source in files.items():
        if source.is_file():
            (page / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, page / name)


def self_contained(page: Path, address: str) -> str:
    """The HTML of a page with every picture of its folder inside, for places that show one file and nothing beside it.

    Large ones are thumbnails, and scripts find each by its `data-path`. Links to other pages of the folder lead to
    `address`, where the page is served.
    """
    folder = page.parent

    def picture(match: re.Match[str]) -> str:
        path = match["path"]
        if not _is_picture(folder, path):
            return match[0]
        return f'<img data-path="{path}" src="{thumbnail_uri(folder / path, THUMB_PX)}"'

    def link(match: re.Match[str]) -> str:
        path = html.unescape(match["path"])
        if urlsplit(path).scheme or path.startswith("#"):
            return match[0]
        return f'href="{html.escape(urljoin(address, path))}"'

    text = SHOWN_PICTURE.sub(picture, page.read_text(encoding="utf-8"))
    return LINK.sub(link, OBJECT.sub("", text))


def _is_picture(folder: Path, path: str) -> bool:
    """Whether this names a picture below the folder."""
    file = (folder / path).resolve()
    return file.suffix.lower() in SHOWN_BY_BROWSERS and file.is_relative_to(folder.resolve()) and file.is_file()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); run the stage that writes it again") from None
