"""Synthetic collections for curation: photographs, or a hundred thousand small pictures, with their manifest."""

from __future__ import annotations

import io
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageChops
from ruamel.yaml import YAML

from benchmarks.project import clone
from pipeline.core.lineage import digest_bytes
from pipeline.core.paths import Paths
from pipeline.core.records import MANIFEST_COLUMNS
from pipeline.io.files import atomic_write, parquet

KEY = "dodo"
PHOTOGRAPH_PX = (1600, 1200)
GRAIN_LEVELS = 24  # from end to end
SMALL_PX, TILES = 100, 10
WEB = "https://commons.wikimedia.org/wiki"


def project(folder: Path) -> Paths:
    """A clone with one species, and no class that CLIP would have to recognise."""
    target = clone(folder)
    yaml = YAML()
    params = yaml.load(target / "params.yaml")
    source = {"kind": "folder", "path": "pictures", "licence": "CC0-1.0", "author": "Jane Doe"}
    params["species"] = {KEY: {"name": "Raphus cucullatus", "class_noun": "bird", "sources": [source]}}
    params["curate"]["zero_shot"]["keep_classes"] = []
    yaml.dump(params, target / "params.yaml")
    return Paths(target, KEY)


def photographs(paths: Paths, number: int) -> None:
    """JPEGs of two million pixels, 300 to 400 kB each, as collect stores them."""
    _collected(paths, _made(_photograph, paths, number), "jpg")


def small_pictures(paths: Paths, number: int) -> None:
    """PNGs of 100 px, no two alike, with as long descriptions as those of Commons."""
    _collected(paths, _made(_small_picture, paths, number), "png")


def _made(make, paths: Paths, number: int) -> list[tuple[str, int]]:
    (paths.raw / "images").mkdir(parents=True)
    with Pool() as pool:
        return pool.starmap(make, ((paths, index) for index in range(number)), chunksize=50)


def _photograph(paths: Paths, index: int) -> tuple[str, int]:
    rng = np.random.default_rng(index)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    noise = np.random.default_rng(0).integers(0, GRAIN_LEVELS, PHOTOGRAPH_PX[::-1], dtype=np.uint8)
    grain = Image.merge("RGB", (Image.fromarray(noise),) * 3)
    image = ImageChops.add(coarse.resize(PHOTOGRAPH_PX, Image.Resampling.BICUBIC), grain, offset=-GRAIN_LEVELS // 2)
    return _stored(paths, image, "JPEG", quality=88)


def _small_picture(paths: Paths, index: int) -> tuple[str, int]:
    tiles = np.random.default_rng(index).integers(0, 256, (TILES, TILES, 3), dtype=np.uint8)
    image = Image.fromarray(tiles).resize((SMALL_PX, SMALL_PX), Image.Resampling.NEAREST)
    return _stored(paths, image, "PNG", compress_level=1)


def _stored(paths: Paths, image: Image.Image, form: str, **options: int) -> tuple[str, int]:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    sha256 = digest_bytes(sink.getvalue())
    (paths.raw / f"images/{sha256}.{'jpg' if form == 'JPEG' else 'png'}").write_bytes(sink.getvalue())
    return sha256, len(sink.getvalue())


def _collected(paths: Paths, stored: list[tuple[str, int]], suffix: str) -> None:
    rows = pd.DataFrame(stored, columns=["sha256", "bytes"])
    number = rows.index.astype(str)
    author = "Author " + (rows.index % 900).astype(str)
    manifest = rows.assign(
        source="folder:pictures",
        source_id=number.str.zfill(6),
        path="images/" + rows["sha256"] + f".{suffix}",
        image_url=f"{WEB}/Special:FilePath/Picture_" + number,
        page_url=f"{WEB}/File:Picture_" + number,
        title="File:A bird number " + number,
        caption="A bird by the sea, seen from the shore, plate " + number,
        author=author,
        author_url=f"{WEB}/User:" + author,
        licence="CC-BY-4.0",
        licence_text="CC BY 4.0",
        licence_url="https://creativecommons.org/licenses/by/4.0/",
        shows="",
        taxon="Raphus",
        evidence="e" * 64,
        final_url=f"{WEB}/Special:FilePath/Picture_" + number,
        content_type="image/png",
        kept=True,
        reason_code="",
        reason="",
    )
    parquet.write(paths.raw / "manifest.parquet", manifest[list(MANIFEST_COLUMNS)].astype(MANIFEST_COLUMNS))
    atomic_write.write_card(paths.raw, stage="collect", species=KEY)
