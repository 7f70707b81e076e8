"""`python -m benchmarks.cpu_seconds resize|curate FOLDER`: CPU seconds for all collected pictures, children included.

`resize` decodes and reduces each with Pillow and does nothing else; `curate` is the whole stage.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
from pathlib import Path

KEPT_PX = 512  # shorter side; curate.image_side_px


def main() -> None:
    work, folder = {"resize": _resize, "curate": _curate}[sys.argv[1]], Path(sys.argv[2])
    before = _cpu_seconds()
    work(folder)
    print(_cpu_seconds() - before)


def _resize(folder: Path) -> None:
    """In as many processes as curate uses, so that they slow each other down as much."""
    files = sorted((folder / "data/raw/dodo/images").iterdir())
    pool = multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0)))
    pool.map(_reduce, files, chunksize=8)
    pool.close()
    pool.join()


def _reduce(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        scale = KEPT_PX / min(image.size)
        size = tuple(round(side * scale) for side in image.size)
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _curate(folder: Path) -> None:
    from pipeline import curate
    from pipeline.core import params
    from pipeline.core.paths import Paths

    curate.curate(params.load(folder / "params.yaml"), Paths(folder, "dodo"))


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    main()
