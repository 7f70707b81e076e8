"""What collect and curate leave behind, as `validate` reads it: sound, until a test spoils it."""

from __future__ import annotations

import hashlib
from typing import Any

import pandas as pd

from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.io.files import atomic_write, parquet
from tests import site_fixture as site

ONLY_CURATED = [
    "file_name",
    "verdict",
    "code",
    "score",
    "sentence",
    "width_px",
    "height_px",
    "sharpness",
    "phash",
    "dhash",
    "pixel_sha256",
    "group",
    "series",
    "clip_class",
    "clip_margin",
    "split",
]


def write(params: Params, paths: Paths, **numbers: int) -> None:
    """Twelve curated pictures, two candidates more that are not kept, and all that lies around them."""
    kept = site.write_curated(params, paths, **numbers)
    hashes = [_hash(name) for name in kept["sha256"]]
    kept = kept.assign(
        phash=[digits[:16] for digits in hashes],
        dhash=[digits[16:32] for digits in hashes],
        series=[f"s{digits[:8]}" for digits in hashes],
        sharpness=[90.0 + place for place in range(len(kept))],
    )
    write_kept(paths, kept)
    write_manifest(paths, _manifest(paths, kept))
    atomic_write.write_card(paths.raw, stage="collect", species=paths.species)


def kept(paths: Paths) -> pd.DataFrame:
    return parquet.read(paths.curated / "metadata.parquet")


def write_kept(paths: Paths, table: pd.DataFrame) -> None:
    parquet.write(paths.curated / "metadata.parquet", table)


def manifest(paths: Paths) -> pd.DataFrame:
    return parquet.read(paths.raw / "manifest.parquet")


def write_manifest(paths: Paths, table: pd.DataFrame) -> None:
    parquet.write(paths.raw / "manifest.parquet", table)


def spoil(paths: Paths, row: int, **values: Any) -> str:
    """Change a row of metadata.parquet; ("row", n) takes the value of row n. Returns its file name."""
    write_kept(paths, _spoilt(kept(paths), row, values))
    return kept(paths).loc[row, "file_name"]


def spoil_manifest(paths: Paths, row: int, **values: Any) -> str:
    """Change a row of manifest.parquet; returns the candidate as pages name it."""
    write_manifest(paths, _spoilt(manifest(paths), row, values))
    table = manifest(paths)
    return f"{table.loc[row, 'source_id']} ({table.loc[row, 'source']})"


def _spoilt(table: pd.DataFrame, row: int, values: dict[str, Any]) -> pd.DataFrame:
    for column, value in values.items():
        table.loc[row, column] = table.loc[value[1], column] if isinstance(value, tuple) else value
    return table


def new_version(paths: Paths, digest: str, **columns: Any) -> None:
    """Another version of the curated set: its card's digest, and columns of its table."""
    write_kept(paths, kept(paths).assign(**columns))
    atomic_write.write_card(paths.curated, **{**atomic_write.read_card(paths.curated), "digest": digest})


def _manifest(paths: Paths, kept: pd.DataFrame) -> pd.DataFrame:
    """The kept rows with their stored files, and two candidates that were refused."""
    path = [f"images/{sha256}.png" for sha256 in kept["sha256"]]
    stored = kept.drop(columns=ONLY_CURATED).assign(path=path, kept=True, reason_code="", reason="")
    for row in stored.to_dict("records"):
        atomic_write.write_bytes(paths.raw / row["path"], b"x" * row["bytes"])
        thumb = site.png(site.picture(int(row["source_id"]), 96))
        atomic_write.write_bytes(paths.curation / "thumbs" / f"{row['sha256']}.webp", thumb)
    empty = {"kept": False, "sha256": "", "path": "", "bytes": 0}
    refused = [
        {
            **stored.iloc[0],
            **empty,
            "source_id": "9001",
            "licence": "CC-BY-NC-4.0",
            "reason_code": "licence_refused",
            "reason": "Its licence is 'CC-BY-NC-4.0'; accepted are others.",
        },
        {
            **stored.iloc[0],
            **empty,
            "source_id": "9002",
            "author": "",
            "reason_code": "not_an_image",
            "reason": "It is a web page.",
        },
    ]
    return pd.concat([stored, pd.DataFrame(refused)], ignore_index=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
