"""`paleo validate` on a hundred thousand candidates, all of them kept and curated, and every file opened.

The pictures have 32 px, so that the time is that of the expectations and of opening files. Inflating large PNGs comes
on top of it: about 5 ms of one core for each of 512 px.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.claims import Claim
from benchmarks.project import clone, paleo
from pipeline.core.lineage import digest_bytes
from pipeline.core.paths import Paths
from pipeline.io.files import atomic_write, parquet

ROWS, SIDE_PX = 100_000, 32
KEY = "sinomacrops"
OFFENDING = 3  # every third, in the second run


def measure(folder: Path) -> list[Claim]:
    project = clone(folder)
    paths = Paths(project, KEY)
    text = paths.params.read_text()
    paths.params.write_text(text.replace("min_side_px: 96 ", f"min_side_px: {SIDE_PX} "))
    kept = _write(paths)
    sound = paleo(project, "validate", KEY)
    _check_output(sound.output, "27 of 27 expectations hold")
    _make_faulty(paths, kept)
    faulty = paleo(project, "validate", KEY)
    _check_output(faulty.output, "24 of 27 expectations hold")
    return [
        Claim("validating 100 000 rows, their 32 px pictures opened", sound.seconds, "s", at_most=30),
        Claim("the same, a third of them offending", faulty.seconds, "s", at_most=30),
        Claim("memory for it", max(sound.peak_bytes, faulty.peak_bytes) / 1e6, "MB", at_most=1000),
    ]


def _check_output(output: str, expected: str) -> None:
    if expected not in output:
        raise RuntimeError(f"{expected!r} is not in the output: {output[-1000:]}")


def _write(paths: Paths) -> pd.DataFrame:
    """Everything that collect and curate would leave behind; returns metadata.parquet."""
    names = [_store(paths, number) for number in range(ROWS)]
    kept = _rows(names)
    manifest = kept.assign(path=[f"images/{sha}.png" for sha in kept["sha256"]], kept=True, reason_code="", reason="")
    parquet.write(paths.raw / "manifest.parquet", manifest)
    parquet.write(paths.curated / "metadata.parquet", kept)
    atomic_write.write_card(paths.raw, stage="collect", species=KEY)
    atomic_write.write_card(paths.curated, stage="curate", species=KEY, digest="0" * 64)
    return kept


def _store(paths: Paths, number: int) -> tuple[str, str, int]:
    """A noisy picture as collected and as curated: its sha256, its curated name, its size in bytes."""
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    sha256 = digest_bytes(sink.getvalue())
    name = f"{'holdout' if number % 5 == 0 else 'train'}/{sha256[:16]}.png"
    for path in (paths.curated / name, paths.raw / "images" / f"{sha256}.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
    (paths.curated / name).write_bytes(sink.getvalue())
    os.link(paths.curated / name, paths.raw / "images" / f"{sha256}.png")
    return sha256, name, len(sink.getvalue())


def _rows(stored: list[tuple[str, str, int]]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(stored, columns=["sha256", "file_name", "bytes"])
    number = table.index.astype(str)
    return table.assign(
        source="commons:Pterosauria",
        source_id=number,
        page_url="https://example.org/" + number,
        licence=np.where(rng.random(ROWS) < 0.5, "CC-BY-4.0", "CC-BY-SA-3.0-DE"),
        author="author " + number.str[:3],
        caption="a painting of Sinomacrops bondei flying, plate " + number,
        split=table["file_name"].str.split("/").str[0],
        pixel_sha256=table["sha256"],
        phash=[f"{bits:016x}" for bits in rng.integers(0, 2**63, ROWS)],
        dhash=[f"{bits:016x}" for bits in rng.integers(0, 2**63, ROWS)],
        group=table["sha256"].str[:16],
        series=table["sha256"].str[:16],
        sharpness=rng.gamma(4, 30, ROWS),
        clip_margin=rng.uniform(0, 0.2, ROWS),
    )


def _make_faulty(paths: Paths, kept: pd.DataFrame) -> None:
    """A third of the pictures without a landing page, with another animal's caption and class."""
    every = kept.index % OFFENDING == 0
    faulty = kept.assign(
        page_url=kept["page_url"].mask(every, ""),
        caption=kept["caption"].mask(every, "Sinomacrops, fossil"),
        clip_margin=kept["clip_margin"].mask(every, -kept["clip_margin"] - 1),
    )
    parquet.write(paths.curated / "metadata.parquet", faulty)
