"""The previous collection in `data/raw/<species>/` while a new one is made: nothing of it is downloaded again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.lineage import digest_bytes
from pipeline.core.records import MANIFEST_COLUMNS, CollectedImage, StoredFile
from pipeline.io.files import atomic_write, parquet


@dataclass(frozen=True)
class PreviousCollection:
    """`images` by (source, source_id), `sources`: digests of their params by label."""

    folder: Path
    images: Mapping[tuple[str, str], CollectedImage] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    _by_url: Mapping[str, StoredFile] = field(default_factory=dict)
    _paths: Mapping[str, str] = field(default_factory=dict)  # by sha256

    def file(self, image_url: str) -> tuple[StoredFile, bytes] | None:
        """The file of a picture at this address; None when there is none, or it is damaged."""
        stored = self._by_url.get(image_url)
        content = self.content(stored.sha256) if stored else None
        return (stored, content) if stored and content else None

    def content(self, sha256: str) -> bytes | None:
        """The bytes of a picture; None when there are none, or they are damaged."""
        path = self.folder / self._paths[sha256] if sha256 in self._paths else None
        content = path.read_bytes() if path and path.is_file() else b""
        return content if digest_bytes(content) == sha256 else None

    def evidence(self, sha256: str) -> bytes | None:
        path = self.folder / "evidence" / f"{sha256}.json"
        return path.read_bytes() if path.is_file() else None


def read(folder: Path) -> PreviousCollection:
    """The collection that is there; an empty one when there is none, or one with other columns."""
    if not (folder / atomic_write.CARD).is_file() or not (folder / "manifest.parquet").is_file():
        return PreviousCollection(folder)
    manifest = parquet.read(folder / "manifest.parquet", MANIFEST_COLUMNS)
    if not MANIFEST_COLUMNS.keys() <= set(manifest.columns):
        return PreviousCollection(folder)
    images = [CollectedImage.from_row(row) for row in manifest.to_dict("records")]
    stored = [(image, image.file) for image in images if image.path and image.file]
    return PreviousCollection(
        folder,
        images={image.key: image for image in images},
        sources=atomic_write.read_card(folder).get("sources", {}),
        _by_url={image.candidate.image_url: file for image, file in stored},
        _paths={file.sha256: image.path for image, file in stored},
    )
