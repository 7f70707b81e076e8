"""The collection that lies in `data/raw/<species>/` while a new one is made: nothing of it is fetched twice."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.core.lineage import digest_bytes
from pipeline.core.records import Candidate
from pipeline.io.files import atomic_write, parquet

FACTS = tuple(field.name for field in fields(Candidate) if field.name != "evidence")


@dataclass(frozen=True)
class PreviousCollection:
    """`rows` by (source, source_id); `stored`: those with a file, by image address; `files`: paths by sha256;
    `sources`: digests by label."""

    folder: Path
    rows: dict[tuple[str, str], dict[str, Any]]
    stored: dict[str, dict[str, Any]]
    files: dict[str, str]
    sources: dict[str, str]

    def content(self, image_url: str) -> bytes | None:
        """The bytes of a picture at this address; None when there are none, or they are damaged."""
        row = self.stored.get(image_url)
        return self.by_sha256(row["sha256"]) if row else None

    def by_sha256(self, sha256: str) -> bytes | None:
        path = self.folder / self.files[sha256] if sha256 in self.files else None
        content = path.read_bytes() if path and path.is_file() else b""
        return content if digest_bytes(content) == sha256 else None

    def evidence(self, sha256: str) -> bytes | None:
        path = self.folder / "evidence" / f"{sha256}.json"
        return path.read_bytes() if path.is_file() else None


def read(folder: Path) -> PreviousCollection:
    """What is there; an empty collection when there is none, or one of another make."""
    if not (folder / atomic_write.CARD).is_file() or not (folder / "manifest.parquet").is_file():
        return PreviousCollection(folder, {}, {}, {}, {})
    manifest = parquet.read(folder / "manifest.parquet")
    if not {*FACTS, "evidence", "final_url"} <= set(manifest.columns):
        return PreviousCollection(folder, {}, {}, {}, {})
    rows = manifest.drop(columns="kept").to_dict("records")
    kept = [row for row in rows if row["path"]]
    return PreviousCollection(
        folder,
        rows={(row["source"], row["source_id"]): row for row in rows},
        stored={row["image_url"]: row for row in kept},
        files={row["sha256"]: row["path"] for row in kept},
        sources=atomic_write.read_card(folder).get("sources", {}),
    )
